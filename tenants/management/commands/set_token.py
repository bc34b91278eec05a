"""set_token: other values for a token."""

from __future__ import annotations

from tenants.api.accounts import TokenRows
from tenants.management.rows import SetRow


class Command(SetRow):
    rows = TokenRows
