"""discard_task: cancel a task, or erase its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenants.access.access import OPERATOR
from tenants.api.long_work import TaskRows
from tenants.long_work import asking
from tenants.management.rows import ActOnRow
from tenants.models import LongTask


class Command(ActOnRow):
    help = "Cancel a task, or erase its file. What it has changed until then stays changed."
    rows = TaskRows
    routes = ("POST tasks/{key}/discard",)

    def act(self, row: LongTask, options: Mapping[str, Any]) -> None:
        asking.discard(OPERATOR, row)
