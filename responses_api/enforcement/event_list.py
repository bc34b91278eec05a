"""List what guardrails did, for commands and the page of a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from responses_api.models import GuardrailEvent
from tenants import directory

MOST = 1_000


def newest(
    *,
    tenant: str | None,
    guardrail: str,
    request_id: str,
    limit: int,
    conditions: Mapping[str, Any],
) -> Sequence[GuardrailEvent]:
    """Return the newest events that meet the conditions, in the order in which they were made.

    Raise ValidationError.
    """
    rows = GuardrailEvent.objects.select_related("tenant").order_by("-id")
    if tenant is not None:
        rows = rows.filter(tenant=directory.tenant(tenant))
    if guardrail:
        rows = rows.filter(guardrail=guardrail)
    if request_id:
        rows = rows.filter(request_id=request_id)
    rows = rows.filter(**conditions)
    return list(rows[: max(1, min(limit, MOST))])[::-1]


def of_request(tenant_id: int, request_id: str) -> Sequence[GuardrailEvent]:
    """Return the events of one request of a tenant, in the order in which they were made."""
    rows = GuardrailEvent.objects.filter(tenant=tenant_id, request_id=request_id)
    return list(rows.order_by("id")[:MOST])


def fields_of(row: GuardrailEvent) -> dict[str, Any]:
    """Return what commands tell of an event."""
    return {
        "at": row.at.isoformat(),
        "tenant": row.tenant.slug,
        "request": row.request_id,
        "guardrail": row.guardrail,
        "revision": row.revision,
        "stage": row.stage,
        "surface": row.surface,
        "rule": row.rule,
        "action": row.action,
        "count": row.count,
        "offset": row.offset,
        "length": row.length,
        "digest": row.digest,
        "latency_ms": row.latency_ms,
        "failure": row.failure,
    }


def in_words(row: GuardrailEvent) -> str:
    """Return a line about an event."""
    where = f"{row.stage} {row.surface}".strip()
    about = row.failure or f"{row.rule} ({row.count} times)".strip()
    return f"{row.at:%Y-%m-%d %H:%M:%S} {row.request_id} {row.guardrail} {row.action} ({where}): {about}"
