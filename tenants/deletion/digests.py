"""Replace what identifies people in rows of the ledger by keyed digests.

Equal texts of a tenant have equal digests, so that its usage can still be counted by user or tag; what they
were can be told only by guessing, and only by somebody who has the key (the newest pepper of API keys, which
is not in the database).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from tenants.keys import peppers
from tenants.ledger import statements
from tenants.models import TenantDeletion

PREFIX = "erased:"


class Digester:
    """Digests texts of one tenant; `tombstone` is the slug that its rows get."""

    def __init__(self, tenant_id: int, tombstone: str) -> None:
        self._context = f"erased|{tenant_id}|"
        self._tombstone = tombstone
        _, self._pepper = peppers.keyring().current

    def values(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns of a row that change, as they will be."""
        return {
            "end_user": self._text(row["end_user"]),
            "tags": {self._text(name): self._tag(value) for name, value in row["tags"].items()},
            "requested_model": self._text(row["requested_model"]),
            "tenant_slug": self._tombstone,
        }

    def _tag(self, value: Any) -> str:
        return self._text(value if isinstance(value, str) else repr(value))

    def _text(self, text: str) -> str:
        if not text:
            return ""
        message = f"{self._context}{text}".encode()
        return PREFIX + hmac.digest(self._pepper, message, "sha256").hex()[:32]


def of_deleted(tenant_ids: set[int]) -> dict[int, Digester]:
    """Return a digester for each of the tenants that is deleted, or being deleted."""
    columns = "tenant_id", "tombstone"
    rows = statements.select(TenantDeletion, columns, "tenant_id", tenant_ids)
    return {tenant: Digester(tenant, tombstone) for tenant, tombstone in rows}
