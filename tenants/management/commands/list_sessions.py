"""list_sessions: the sessions there are."""

from __future__ import annotations

from tenants.api.users import SessionRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = SessionRows
    columns = ("user", "address", "browser", "began_at", "seen_at")
