"""Compute when the periods of a tenant's budgets begin and end, also after its time zone has changed.

A new zone takes effect at the end of the running period. The period that begins there, the bridge, lasts
until the new zone's first boundary that is a full period away, so that changing zones never brings the
next period forward, however often it is done. Only a few switches per kind of period are kept for a
tenant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

DAY = 86_400
# No bridge is shorter, even if the old zone's own period would be because its clock goes forward in it.
LEAST_SECONDS = {"daily": DAY, "weekly": 7 * DAY, "monthly": 28 * DAY}
# Switches are kept while a worker might still ask about an instant before them: longer than any clock errs.
KEPT_SECONDS = 2 * DAY


class Switch(Struct, frozen=True, array_like=True):
    """From `at` on periods are those of `zone`; the first of them, the bridge, ends at `until`."""

    zone: str
    at: int = 0
    until: int = 0


# As a tenant's row keeps them: by kind of period, the earliest first.
Kept = Mapping[str, Sequence[Sequence[Any]]]


def unchanged(zone: str) -> dict[str, list[list[Any]]]:
    """Return the history of a tenant that never had another zone."""
    return {period: [[zone, 0, 0]] for period in LEAST_SECONDS}


def change(kept: Kept, zone: str, now: float) -> dict[str, list[list[Any]]]:
    """Return the history once `zone` was chosen at this instant; a choice that has not taken effect is
    replaced.
    """
    return {
        period: [
            [s.zone, s.at, s.until]
            for s in _change_period(period, switches(kept, period), zone, now)
        ]
        for period in LEAST_SECONDS
    }


def switches(kept: Kept, period: str) -> tuple[Switch, ...]:
    """Return the switches of one kind of period; none for totals, which have no boundaries."""
    return tuple(Switch(*row) for row in kept.get(period, ()))


def pending(kept: Kept, now: float) -> dict[str, Switch]:
    """Return choices that have not taken effect yet, by kind of period."""
    last = {period: switches(kept, period)[-1] for period in kept}
    return {period: switch for period, switch in last.items() if switch.at > now}


def span(period: str, known: Sequence[Switch], timestamp: float) -> tuple[int, int]:
    """Return begin and end of the period that contains this instant."""
    current = known[0]
    for switch in known[1:]:
        if switch.at > timestamp:
            break
        current = switch
    if current.at <= timestamp < current.until:
        return current.at, current.until
    return calendar_span(period, ZoneInfo(current.zone), timestamp)


def calendar_span(period: str, zone: ZoneInfo, timestamp: float) -> tuple[int, int]:
    """Return the day, week or month of this zone that contains the instant."""
    day = datetime.fromtimestamp(timestamp, zone).date()
    if period == "weekly":
        first = day - timedelta(days=day.weekday())
        following = first + timedelta(days=7)
    elif period == "monthly":
        first = day.replace(day=1)
        following = (first + timedelta(days=32)).replace(day=1)
    else:
        first, following = day, day + timedelta(days=1)
    return _midnight(first, zone), _midnight(following, zone)


def _change_period(
    period: str, known: tuple[Switch, ...], zone: str, now: float
) -> tuple[Switch, ...]:
    past = tuple(switch for switch in known[1:] if switch.at <= now)
    past = _drop_old((known[0], *past), now)
    if past[-1].zone == zone:
        return past
    at = span(period, past, now)[1]
    _, full = calendar_span(period, ZoneInfo(past[-1].zone), at)
    begin, end = calendar_span(
        period, ZoneInfo(zone), earliest := max(full, at + LEAST_SECONDS[period])
    )
    return (*past, Switch(zone, at, begin if begin == earliest else end))


def _drop_old(past: tuple[Switch, ...], now: float) -> tuple[Switch, ...]:
    """Drop switches older than the one in effect at the oldest instant anybody may ask about."""
    old = [place for place, switch in enumerate(past) if switch.at <= now - KEPT_SECONDS]
    return past[old[-1] if old else 0 :]


def _midnight(day: date, zone: ZoneInfo) -> int:
    """Return the day's first instant; if the clock skips midnight, the instant it skips to."""
    return int(datetime.combine(day, time.min, zone).timestamp())
