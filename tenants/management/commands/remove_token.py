"""remove_token: a token goes."""

from __future__ import annotations

from tenants.api.accounts import TokenRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = TokenRows
