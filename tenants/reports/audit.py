"""Read the audit log: newest first by filters, or a chain from a number on.

Every query goes along an index (tenants/models/audit.py), and pages by the last id or number seen, so that
a million events are no slower than a hundred.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet

from gateway_project.lib import ids
from tenants.models import AuditEvent

MOST = 1_000
EPOCH = datetime.fromtimestamp(0, UTC)  # no id is older
Events = QuerySet[AuditEvent]
Row = TypeVar("Row", bound=Model)  # of events, which callers may know as any model's


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Conditions on events; an empty one is no condition. `start` counts, `end` does not."""

    action: str = ""
    actor: str = ""  # the name
    object_type: str = ""
    object_id: str = ""
    start: datetime | None = None
    end: datetime | None = None


EVERYTHING = AuditFilter()


def of_tenants(tenants: Collection[int] | None) -> Events:
    """Return the events in the logs of these tenants; None stands for all, and the platform's."""
    rows = AuditEvent.objects.all()
    return rows if tenants is None else rows.filter(tenant__in=tenants)


def without_upstreams(rows: QuerySet[Row], tenants: Collection[int]) -> QuerySet[Row]:
    """Leave out what names the models behind aliases, in the logs of tenants that are shown aliases only."""
    return rows.exclude(tenant__in=tenants, object_type="target") if tenants else rows


def filtered(rows: Events, wanted: AuditFilter) -> Events:
    """Return those events that meet the conditions."""
    exact = {
        "action": wanted.action,
        "actor_name": wanted.actor,
        "object_type": wanted.object_type,
        "object_id": wanted.object_id,
    }
    rows = rows.filter(**{name: value for name, value in exact.items() if value})
    # Ids begin with the time, so that one index gives both the filter and the order.
    if wanted.start is not None:
        rows = rows.filter(id__gte=_first_id(wanted.start))
    if wanted.end is not None:
        rows = rows.filter(id__lt=_first_id(wanted.end))
    return rows


def _first_id(at: datetime) -> UUID:
    return ids.first_uuid7(max(at, EPOCH))


def newest(
    tenants: Collection[int] | None,
    wanted: AuditFilter,
    *,
    before: UUID | None = None,
    limit: int = 50,
    aliases_only: Collection[int] = (),
) -> list[AuditEvent]:
    """Return a page of events, newest first; the next one is `before` the last id of this."""
    rows = without_upstreams(filtered(of_tenants(tenants), wanted), aliases_only)
    if before is not None:
        rows = rows.filter(id__lt=before)
    return list(rows.order_by("-id")[: min(limit, MOST)])


def following(
    chain: int, sequence: int, limit: int = 100, wanted: AuditFilter = EVERYTHING
) -> list[AuditEvent]:
    """Return the events of a chain after this number, oldest first. Numbers are given after the commit, so
    that who reads on from the last one misses none."""
    rows = filtered(AuditEvent.objects.filter(chain=chain, sequence__gt=sequence), wanted)
    return list(rows.order_by("sequence")[: min(limit, MOST)])
