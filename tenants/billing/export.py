"""Export rows of the ledger as JSON Lines, one after the other, however many. They contain no bodies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tenants.ledger.row_ids import request_id_of
from tenants.models import Tenant, UsageRow

CHUNK = 2_000
_LEFT_OUT = {"tenant", "spool", "key_id"}
FIELDS = tuple(f.name for f in UsageRow._meta.concrete_fields if f.name not in _LEFT_OUT)


def lines(tenant: Tenant | None, start: datetime, end: datetime) -> Iterator[str]:
    """Return the rows in the order of time."""
    rows = UsageRow.objects.filter(opened_at__gte=start, opened_at__lt=end)
    if tenant is not None:
        rows = rows.filter(tenant=tenant)
    for row in rows.order_by("opened_at", "pk").values(*FIELDS).iterator(chunk_size=CHUNK):
        yield written(told(row))


def told(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a row as they are exported: with its request's id, units by their names."""
    values = dict(row)
    values["request_id"] = request_id_of(values["id"])
    values["units"] = {
        name: {"quantity": quantity, "charge_nano": charge}
        for name, (quantity, charge) in (values["units"] or {}).items()
    }
    return values


def written(values: Mapping[str, Any]) -> str:
    """Return a row as a line of JSON."""
    return json.dumps(values, default=plain, ensure_ascii=False)


def plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be exported.")
