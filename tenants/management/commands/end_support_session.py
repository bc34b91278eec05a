"""end_support_session: an operator acts as a tenant no longer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenants.api.users import SupportRows
from tenants.management.rows import ActOnRow
from tenants.members import support
from tenants.models import SupportSession


class Command(ActOnRow):
    help = "End the time in which an operator acts as a tenant."
    rows = SupportRows
    routes = ("POST support-sessions/{key}/end",)

    def act(self, row: SupportSession, options: Mapping[str, Any]) -> None:
        support.end(row)
