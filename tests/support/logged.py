"""Requests in the log as they come to stand there: calls of the ledger, and refusals."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from tenants.ledger.row_ids import STEP, row_id
from tenants.models import ApiKey, RefusalHour, RefusedRequest, Tenant, UsageRow
from tests.support import usage_rows


def request_id(at: datetime) -> str:
    """A request's id as it would have been made then."""
    return f"req_{usage_rows.id_at(at).hex[:-4]}0000"


def call(tenant: Tenant, at: datetime, request: str = "", leg: int = 0, **fields: Any) -> UsageRow:
    """One call of a request, the first of a new one if none is named."""
    pk = UUID(hex=row_id(request or request_id(at), leg))
    return usage_rows.usage(tenant, at, id=pk, leg=leg, **fields)


def correction(row: UsageRow, at: datetime, **fields: Any) -> UsageRow:
    """A correction of a call."""
    return usage_rows.usage(
        Tenant.objects.get(pk=row.tenant_id),
        at,
        id=UUID(int=row.pk.int + STEP),
        leg=row.leg + STEP,
        status="correction",
        corrects=row.pk,
        reason="agreed",
        actor="operator",
        alias=row.alias,
        key_public_id=row.key_public_id,
        **fields,
    )


def refusal(
    tenant: Tenant | None, at: datetime, key: ApiKey | None = None, **fields: Any
) -> RefusedRequest:
    """A refused request, counted in its hour."""
    known: dict[str, Any] = {
        "id": UUID(hex=request_id(at)[4:]),
        "at": at,
        "key_id": key.pk if key else None,
        "key_public_id": key.public_id if key else "key0000001" if tenant else "",
        "route": "chat",
        "model": "smart",
        "http_status": 404,
        "code": "model_not_found",
        "message": "The model 'smart' does not exist.",
    }
    row = RefusedRequest.objects.create(tenant=tenant, **{**known, **fields})
    hour, _ = RefusalHour.objects.get_or_create(
        tenant=tenant,
        starts_at=at.replace(minute=0, second=0, microsecond=0),
        key_public_id=row.key_public_id,
        code=row.code,
    )
    RefusalHour.objects.filter(pk=hour.pk).update(refusals=hour.refusals + 1)
    return row
