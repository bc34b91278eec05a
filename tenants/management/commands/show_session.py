"""show_session: one session in whole."""

from __future__ import annotations

from tenants.api.users import SessionRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = SessionRows
