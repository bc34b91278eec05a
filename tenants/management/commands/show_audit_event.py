"""show_audit_event: one audit event in whole."""

from __future__ import annotations

from tenants.api.audit import EventRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = EventRows
