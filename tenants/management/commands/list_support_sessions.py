"""list_support_sessions: the support sessions there are."""

from __future__ import annotations

from tenants.api.users import SupportRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = SupportRows
    columns = ("tenant", "operator_name", "role", "reason", "started_at", "ends_at")
