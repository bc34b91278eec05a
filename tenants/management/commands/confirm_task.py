"""confirm_task: let a task go on that has told what it would change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenants.access.access import OPERATOR
from tenants.api.long_work import TaskRows
from tenants.long_work import asking
from tenants.management.rows import ActOnRow
from tenants.models import LongTask


class Command(ActOnRow):
    help = "Let a task go on that has told what it would change."
    rows = TaskRows
    routes = ("POST tasks/{key}/confirm",)

    def act(self, row: LongTask, options: Mapping[str, Any]) -> None:
        asking.confirm(OPERATOR, row)
