"""Turn usage over time into charts: columns that are stacked, rows that are buckets of time.

A chart is a table first: what is drawn and what stands in the table are the same numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.utils.formats import date_format
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from tenants.reports.buckets import TimeBuckets
from tenants.reports.figures import Used
from tenants.reports.usage_series import Group, UsageSeries

# Green for what was answered, red for what failed.
_OUTCOME_COLOURS = ("2", "3", "5", "7", "other", "4")
_FORMATS = {"hour": "D j M, H:i", "quarter": "D j M, H:i", "day": "D j M", "month": "F Y"}


@dataclass(frozen=True, slots=True)
class Column:
    """A series of a chart. `query` is the part of an address that chooses its group, if it is one;
    `colour` a number of the palette or `other`, and blank for the colour of its place."""

    label: str
    query: str = ""
    colour: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bucket of a chart: what it is called, the part of an address that chooses its time, and a value per
    column."""

    label: str
    query: str
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart. `unit` says how values are shown: `nano` dollars or plain `count`."""

    title: str
    unit: str
    columns: tuple[Column, ...]
    bars: tuple[Bar, ...]
    total: int


def by_group(series: UsageSeries, title: str, unit: str, value: Callable[[Used], int]) -> Chart:
    """Return a chart whose columns are the largest groups, and all others."""
    named = Counter(group.label for group, _ in series.series)
    columns = tuple(
        _column(group, series.by, is_shared=named[group.label] > 1) for group, _ in series.series
    )
    lines = [[value(used) for used in line] for _, line in series.series]
    bars = _bars(series.buckets, list(zip(*lines, strict=True)))
    return Chart(title, unit, columns, bars, value(series.total))


def of_parts(
    series: UsageSeries, title: str, parts: Sequence[tuple[str, Callable[[Used], int]]]
) -> Chart:
    """Return a chart whose columns are parts of what all groups used together."""
    buckets = [Used() for _ in range(len(series.buckets))]
    for _group, line in series.series:
        buckets = [one + other for one, other in zip(buckets, line, strict=True)]
    values = [tuple(value(used) for _, value in parts) for used in buckets]
    columns = tuple(Column(label) for label, _ in parts)
    total = sum(value(series.total) for _, value in parts)
    return Chart(title, "count", columns, _bars(series.buckets, values), total)


def label_of(group: Group, by: str) -> str:
    """Return what a group is called; those without a name, and all others, in words."""
    if group.key is None:
        return _("Others")
    if group.label:
        return group.label
    return {
        "key": _("No key"),
        "end_user": _("No end user"),
        "provider": _("No provider was reached"),
        "model": _("No model was reached"),
    }.get(by, _("None"))


def _column(group: Group, by: str, *, is_shared: bool) -> Column:
    """Return the series of a group. Keys of several tenants may have one name: their ids tell them apart."""
    query = urlencode({by: group.chooses}) if group.chooses else ""
    label = label_of(group, by)
    shown = f"{label} {group.key}" if is_shared and group.key else label
    return Column(shown, query, "other" if group.key is None else "")


def _bars(buckets: TimeBuckets, values: Sequence[Sequence[int]]) -> tuple[Bar, ...]:
    empty: tuple[int, ...] = ()
    rows = values or [empty] * len(buckets)
    places = _places(buckets, get_language())
    return tuple(Bar(*place, tuple(row)) for place, row in zip(places, rows, strict=True))


@lru_cache(maxsize=8)  # the charts of a page have the same
def _places(buckets: TimeBuckets, language: str | None) -> tuple[tuple[str, str], ...]:
    """Return what the buckets are called in the language that is spoken now, and where they lead."""
    zone = ZoneInfo(buckets.zone)
    shown = _FORMATS[buckets.step]
    return tuple(
        (date_format(start.astimezone(zone), shown), _query(start, end, zone))
        for start, end in buckets.spans
    )


def _query(start: datetime, end: datetime, zone: ZoneInfo) -> str:
    """Return the parameters of a span, as short as they can be: wall clock times of the zone. A page may show
    buckets of UTC to somebody in another zone, so that those say what they are."""
    first, past = (at.astimezone(zone).replace(tzinfo=None) for at in (start, end))
    mark = "Z" if zone.key == "UTC" else ""
    return f"from={first:%Y-%m-%dT%H:%M}{mark}&to={past:%Y-%m-%dT%H:%M}{mark}"


def charge(series: UsageSeries) -> Chart:
    return by_group(series, _("Charge"), "nano", lambda used: used.charge_nano)


def tokens(series: UsageSeries) -> Chart:
    parts: list[tuple[str, Callable[[Used], int]]] = [
        (_("Input"), lambda used: used.input),
        (_("Cached input"), lambda used: used.cached),
        (_("Input written to a cache"), lambda used: used.written),
        (_("Output"), lambda used: used.output),
        (_("Reasoning"), lambda used: used.reasoning),
    ]
    return of_parts(series, _("Tokens"), parts)


def requests(series: UsageSeries) -> Chart:
    return by_group(series, _("Requests"), "count", lambda used: used.requests)


def outcomes(series: UsageSeries, refused: Sequence[int]) -> Chart:
    """Return requests by what became of them, those that came to no call among them."""
    parts: list[tuple[str, Callable[[Used], int]]] = [
        (_("Answered"), lambda used: used.answered),
        (_("Incomplete"), lambda used: used.incomplete),
        (_("Failed"), lambda used: used.errors),
        (_("Client left"), lambda used: used.client_gone),
        (_("Cancelled"), lambda used: used.cancelled),
    ]
    chart = of_parts(series, _("Requests by outcome"), parts)
    columns = (*chart.columns, Column(_("Refused")))
    return replace(
        chart,
        columns=tuple(
            replace(column, colour=colour)
            for column, colour in zip(columns, _OUTCOME_COLOURS, strict=True)
        ),
        bars=tuple(
            replace(bar, values=(*bar.values, count))
            for bar, count in zip(chart.bars, refused, strict=True)
        ),
        total=chart.total + sum(refused),
    )
