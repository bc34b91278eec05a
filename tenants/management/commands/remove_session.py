"""remove_session: a session goes."""

from __future__ import annotations

from tenants.api.users import SessionRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = SessionRows
