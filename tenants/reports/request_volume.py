"""Count requests by hour or by day from the sums, for the bars above the log and its "about"."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet, Sum

from tenants.access.access import Access
from tenants.models import RefusalHour
from tenants.reports import requests
from tenants.reports.matching_hours import DAY, HOUR, MANY_HOURS, floor, of_sums, sums_for
from tenants.reports.request_filter import REFUSED, RequestFilter


@dataclass(frozen=True, slots=True)
class VolumeBar:
    """The requests of an hour or a day: those with a call, and those refused before any."""

    start: datetime
    end: datetime
    called: int
    refused: int

    @property
    def total(self) -> int:
        return self.called + self.refused


@dataclass(frozen=True, slots=True)
class Volume:
    """Bars from the oldest to the newest, without gaps. Sums are some seconds behind."""

    bars: tuple[VolumeBar, ...]

    @property
    def total(self) -> int:
        return sum(bar.total for bar in self.bars)

    @property
    def highest(self) -> int:
        return max((bar.total for bar in self.bars), default=0)


def volume(who: Access, asked: RequestFilter) -> Volume | None:
    """Return how many requests there were; None where the sums do not know what the filter asks for."""
    asked = requests.narrowed(who, asked)
    if not _is_in_sums(asked):
        return None
    if asked.finds_nothing:
        return Volume(())
    step = HOUR if asked.end - asked.start <= MANY_HOURS else DAY
    called = {} if asked.status == REFUSED else _called(asked, step)
    refused = _refused(asked, step) if _counts_refusals(asked) else {}
    return Volume(_bars(asked, step, called, refused))


def _is_in_sums(asked: RequestFilter) -> bool:
    is_of_calls = asked.end_user or asked.source or asked.guardrail or asked.cache
    is_of_calls = is_of_calls or asked.attempts
    if is_of_calls or asked.status not in {"", REFUSED}:
        return False
    # Of errors only refusals are counted, and refusals not by the name that was asked for.
    return (not asked.code or asked.status == REFUSED) and not (
        asked.alias and asked.status == REFUSED
    )


def _counts_refusals(asked: RequestFilter) -> bool:
    return asked.may_be_refused and not asked.alias


def _called(asked: RequestFilter, step: timedelta) -> dict[datetime, int]:
    sums = sums_for(asked)
    rows = sums.hours if step == HOUR else sums.days
    return _by_start(of_sums(asked, _within(asked, step, rows)), "requests")


def _refused(asked: RequestFilter, step: timedelta) -> dict[datetime, int]:
    rows = _within(asked, step, RefusalHour.objects.order_by())
    if asked.tenants is not None:
        rows = rows.filter(tenant_id__in=asked.tenants)
    if asked.key:
        rows = rows.filter(key_public_id=asked.key)
    if asked.code:
        rows = rows.filter(code=asked.code)
    found: dict[datetime, int] = {}
    for start, count in _by_start(rows, "refusals").items():
        place = floor(start, step)
        found[place] = found.get(place, 0) + count
    return found


def _within(asked: RequestFilter, step: timedelta, rows: QuerySet[Any]) -> QuerySet[Any]:
    return rows.filter(starts_at__gte=floor(asked.start, step), starts_at__lt=asked.end)


def _by_start(rows: QuerySet[Any], figure: str) -> dict[datetime, int]:
    return dict(rows.values_list("starts_at").annotate(n=Sum(figure)))


def _bars(
    asked: RequestFilter,
    step: timedelta,
    called: dict[datetime, int],
    refused: dict[datetime, int],
) -> tuple[VolumeBar, ...]:
    bars = []
    at = floor(asked.start, step)
    while at < asked.end:
        bars.append(VolumeBar(at, at + step, called.get(at, 0), refused.get(at, 0)))
        at += step
    return tuple(bars)
