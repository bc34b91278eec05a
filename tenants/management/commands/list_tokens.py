"""list_tokens: the tokens there are."""

from __future__ import annotations

from tenants.api.accounts import TokenRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = TokenRows
    columns = ("tenant", "name", "scopes", "shown", "expires_at", "revoked_at", "last_used_at")
