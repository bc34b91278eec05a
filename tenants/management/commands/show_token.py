"""show_token: one token in whole."""

from __future__ import annotations

from tenants.api.accounts import TokenRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = TokenRows
