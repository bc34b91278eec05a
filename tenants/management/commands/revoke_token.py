"""revoke_token: end a token of the management API for good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenants.api.accounts import TokenRows
from tenants.keys import api_tokens
from tenants.management.rows import ActOnRow
from tenants.models import ApiToken


class Command(ActOnRow):
    help = "Revoke a token of the management API; it is refused from then on."
    rows = TokenRows
    routes = ("POST tokens/{key}/revoke",)

    def act(self, row: ApiToken, options: Mapping[str, Any]) -> None:
        api_tokens.revoke(row)
