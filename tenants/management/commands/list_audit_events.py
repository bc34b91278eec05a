"""list_audit_events: the audit events there are."""

from __future__ import annotations

from tenants.api.audit import EventRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = EventRows
    columns = ("at", "tenant", "actor_name", "action", "object_type", "object_name")
