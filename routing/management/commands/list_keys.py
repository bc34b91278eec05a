"""list_keys: the keys there are."""

from __future__ import annotations

from routing.api.keys import WholeKeyRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = WholeKeyRows
    columns = (
        "tenant",
        "name",
        "scopes",
        "all_aliases",
        "aliases",
        "expires_at",
        "revoked_at",
        "last_used_at",
    )
