"""Rows of the ledger as its ingester writes them, marks for their hours included."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from gateway_project.lib import ids
from tenants.models import DirtyHour, Tenant, UsageRow
from tenants.token_classes import TOKEN_CLASSES

AT = datetime(2026, 10, 15, 12, 30, tzinfo=UTC)


def usage(
    tenant: Tenant,
    at: datetime = AT,
    *,
    charges: dict[str, int] | None = None,
    tokens: dict[str, int] | None = None,
    marked: bool = True,
    **fields: Any,
) -> UsageRow:
    """One row; `charges` (nano) and `tokens` are by token class, its total charge is their sum."""
    row = built(tenant, at, charges=charges, tokens=tokens, **fields)
    row.save(force_insert=True)
    if marked:
        mark(tenant, at)
    return row


def built(
    tenant: Tenant,
    at: datetime = AT,
    *,
    charges: dict[str, int] | None = None,
    tokens: dict[str, int] | None = None,
    **fields: Any,
) -> UsageRow:
    """Make such a row without saving it."""
    charges = {"input_fresh": 2_000, "output_visible": 8_000} if charges is None else charges
    tokens = {"input_fresh": 20, "output_visible": 10} if tokens is None else tokens
    assert {*charges, *tokens} <= set(TOKEN_CLASSES)
    values: dict[str, Any] = {
        "id": id_at(at),
        "leg": 0,
        "tenant_slug": tenant.slug,
        "key_public_id": "key0000001",
        "route": "responses",
        "alias": "smart",
        "provider": "openai",
        "upstream_model": "gpt-5",
        "service_tier": "default",
        "status": "completed",
        "http_status": 200,
        "usage_source": "provider",
        "opened_at": at,
        "charge_version": 1,
        "cost_version": 1,
        "charge_nano": sum(charges.values()),
        "cost_nano": sum(charges.values()) // 2,
        **{f"charge_{name}": amount for name, amount in charges.items()},
        **tokens,
    }
    return UsageRow(tenant=tenant, **{**values, **fields})


def id_at(at: datetime) -> UUID:
    """An id as it would have been made then."""
    return UUID(int=ids.first_uuid7(at).int | ids.uuid7().int & (1 << 80) - 1)


def mark(tenant: Tenant, at: datetime) -> None:
    hour = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    DirtyHour.objects.create(tenant_id=tenant.pk, hour=hour)
