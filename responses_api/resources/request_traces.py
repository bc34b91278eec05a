"""Find what is stored of a request of the log: its response, the run that made it, and webhooks about it.

A stored response does not name its request, so that storing one costs no more. It is found by what both
know: the key, the model asked for, when it ended, and its tokens. Two requests of one key that agree in all
of these are both shown what was stored of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from django.db.models import Count

from gateway_project.lib import ids
from responses_api.models import Run, StoredResponse, WebhookDelivery
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.reports.request_detail import RequestDetail

BEFORE, AFTER = timedelta(seconds=2), timedelta(seconds=30)
# Deliveries of an event are made when it happens; so long after the end none is.
DELIVERIES_WITHIN = timedelta(minutes=10)
MOST_LOOKED_AT, MOST_SHOWN = 200, 5


@dataclass(frozen=True, slots=True)
class DeliveryTrace:
    """A webhook that told of the response."""

    event_type: str
    state: str
    attempts: int
    last_status: int | None


@dataclass(frozen=True, slots=True)
class ResponseTrace:
    """A stored response; `run` is the state of the run that made it, blank if it had none."""

    id: str
    status: str
    items: int
    run: str
    deliveries: tuple[DeliveryTrace, ...]


def traces_of(who: Access, detail: RequestDetail) -> list[ResponseTrace] | None:
    """Return what is stored of the request; None if it was refused, or they may not know of responses."""
    row = detail.summary
    if not detail.attempts or not who.may("view", Area.RESPONSES, row.tenant_id):
        return None
    last = detail.attempts[-1]
    ended = last.opened_at + timedelta(milliseconds=last.duration_ms)
    stored = StoredResponse.objects.filter(
        tenant=row.tenant_id,
        key_public_id=row.key_public_id,
        model=row.requested_model or row.alias,
        # A response in the background is stored when it is queued.
        created_at__gte=(detail.attempts[0].opened_at if row.background else ended) - BEFORE,
        created_at__lt=ended + AFTER,
    ).order_by("created_at")[:MOST_LOOKED_AT]
    fitting = [each for each in stored if _has_tokens(each, detail)][:MOST_SHOWN]
    return _with_deliveries(row.tenant_id, fitting, ended) if fitting else []


def _has_tokens(stored: StoredResponse, detail: RequestDetail) -> bool:
    """Tell whether the stored usage is that of the request; one that has none fits."""
    usage = orjson.loads(bytes(stored.body)).get("usage")
    if not isinstance(usage, dict):
        return True
    tokens = [line for each in detail.attempts for line in each.lines]
    given, gave = (
        sum(line.quantity for line in tokens if line.unit.startswith(prefixes))
        for prefixes in (("input_", "cache_"), ("output_",))
    )
    return (usage.get("input_tokens"), usage.get("output_tokens")) == (given, gave)


def _with_deliveries(
    tenant_id: int | None, stored: Sequence[StoredResponse], ended: datetime
) -> list[ResponseTrace]:
    names = [each.pk for each in stored]
    counted = StoredResponse.objects.filter(pk__in=names, tenant=tenant_id).order_by()
    items = dict(counted.annotate(n=Count("items")).values_list("pk", "n"))
    runs = dict(Run.objects.filter(pk__in=names, tenant=tenant_id).values_list("pk", "status"))
    told: dict[str, list[DeliveryTrace]] = {}
    # Their ids are in time order, and nothing else leads to them by response.
    deliveries = WebhookDelivery.objects.filter(
        tenant=tenant_id,
        response_id__in=names,
        pk__gte=ids.first_uuid7(ended - BEFORE),
        pk__lt=ids.first_uuid7(ended + DELIVERIES_WITHIN),
    )
    for one in deliveries:
        told.setdefault(one.response_id, []).append(
            DeliveryTrace(one.event_type, one.get_state_display(), one.attempts, one.last_status)
        )
    return [
        ResponseTrace(
            each.pk,
            each.status,
            items.get(each.pk, 0),
            runs.get(each.pk, ""),
            tuple(told.get(each.pk, ())),
        )
        for each in stored
    ]
