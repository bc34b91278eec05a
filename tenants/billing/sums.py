"""Sum what was used in a span of time, exact to the row: sums where they are up to date, rows for the
rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from django.db.models import Case, Count, IntegerField, Q, QuerySet, Sum, Value, When
from django.db.models.functions import TruncDay, TruncHour

from tenants.billing import unit_sums
from tenants.billing.instants import ceil_hour, floor_hour
from tenants.billing.sum_sql import AMOUNTS, COUNTS, QUANTITIES
from tenants.models import DirtyHour, UsageHour, UsageRow
from tenants.token_classes import TOKEN_CLASSES

Grouping = Literal["key", "alias", "model", "day", "hour", "provider", "tenant"]
COLUMNS: dict[str, str] = {
    "key": "key_public_id",
    "alias": "alias",
    "model": "upstream_model",
    "provider": "provider",
    "tenant": "tenant_id",
}
FIGURES = (*COUNTS, *QUANTITIES)
HOUR = timedelta(hours=1)
_CALL = ~Q(status=UsageRow.Status.CORRECTION)
_ESTIMATED = Q(usage_source__in=(UsageRow.Source.COUNTED, UsageRow.Source.RESERVED))
IS_HIT = Q(cache_outcome=UsageRow.CacheOutcome.HIT)
_OF_ROWS: dict[str, Any] = {
    "requests": Count("pk", filter=_CALL & Q(leg=0)),
    "calls": Count("pk", filter=_CALL),
    "failed": Count("pk", filter=Q(status=UsageRow.Status.FAILED)),
    "absorbed": Count("pk", filter=_CALL & Q(absorbed=True)),
    "estimated": Count("pk", filter=_CALL & _ESTIMATED),
    "unpriced": Count("pk", filter=_CALL & Q(charge_version=None)),
    "hits": Count("pk", filter=_CALL & IS_HIT),
    **{name: Sum(name, filter=~IS_HIT) for name in TOKEN_CLASSES},
    **{name: Sum(name) for name in AMOUNTS},
}
_OF_SUMS: dict[str, Any] = {name: Sum(name) for name in FIGURES}
# So many spans are asked for in one query.
_SPANS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Total:
    """The figures of one group, in the order of FIGURES. `group` is a name, or for a span its beginning.
    `units` are quantities of units beside tokens, by name."""

    group: str | int | datetime
    figures: tuple[int, ...]
    units: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> int:
        """Return a figure, or the quantity of a unit beside tokens."""
        if name in FIGURES:
            return self.figures[FIGURES.index(name)]
        return self.units.get(name, 0)


def totals(
    tenant_id: int | None, start: datetime, end: datetime, by: Grouping | None
) -> list[Total]:
    """Return what was used from `start` until `end`, in the order of the groups.

    Without a tenant: of all tenants; without `by`: one total, or none if nothing was used. Marks are read
    before sums: an hour that is summed meanwhile is still read from its rows.
    """
    rows, hours = UsageRow.objects.order_by(), UsageHour.objects.order_by()
    marks = DirtyHour.objects.filter(hour__gt=start - HOUR, hour__lt=end)
    if tenant_id is not None:
        rows, hours = rows.filter(tenant_id=tenant_id), hours.filter(tenant_id=tenant_id)
        marks = marks.filter(tenant_id=tenant_id)
    unsummed = sorted({floor_hour(hour) for hour in marks.values_list("hour", flat=True)})
    first, last = ceil_hour(start), floor_hour(end)
    found: dict[Any, list[int]] = {}
    summed = hours.filter(starts_at__gte=first, starts_at__lt=last).exclude(starts_at__in=unsummed)
    of_units: dict[Any, dict[str, int]] = {}
    _add(found, _grouped(summed, by, "starts_at", _OF_SUMS))
    _add_units(of_units, _grouped_units(summed, by, "starts_at", unit_sums.of_sums))
    spans = _spans(start, end, unsummed)
    for place in range(0, len(spans), _SPANS_AT_ONCE):
        within = Q()
        for begin, until in spans[place : place + _SPANS_AT_ONCE]:
            within |= Q(opened_at__gte=begin, opened_at__lt=until)
        part = rows.filter(within)
        _add(found, _grouped(part, by, "opened_at", _OF_ROWS))
        _add_units(of_units, _grouped_units(part, by, "opened_at", unit_sums.of_rows))
    return [
        Total(group, tuple(figures), of_units.get(group, {}))
        for group, figures in sorted(found.items())
        if any(figures)
    ]


def charged_in(tenant_id: int, spans: Sequence[tuple[datetime, datetime]]) -> list[dict[str, int]]:
    """Return what a tenant was charged in each of these spans, by alias, as `totals` would: with as many
    queries for many of them as for one. They are in order and do not overlap."""
    found: list[dict[str, int]] = [{} for _ in spans]
    if not spans:
        return found
    first, last = spans[0][0], spans[-1][1]
    marks = DirtyHour.objects.filter(tenant_id=tenant_id, hour__gt=first - HOUR, hour__lt=last)
    unsummed = {floor_hour(hour) for hour in marks.values_list("hour", flat=True)}
    cut = {floor_hour(edge) for span in spans for edge in span if floor_hour(edge) != edge}
    by_row = sorted(unsummed | cut)
    hours = UsageHour.objects.filter(
        tenant_id=tenant_id, starts_at__gte=first, starts_at__lt=last
    ).exclude(starts_at__in=by_row)
    _add_charged(found, spans, hours, "starts_at")
    for place in range(0, len(by_row), _SPANS_AT_ONCE):
        within = Q()
        for hour in by_row[place : place + _SPANS_AT_ONCE]:
            within |= Q(opened_at__gte=hour, opened_at__lt=hour + HOUR)
        rows = UsageRow.objects.filter(within, tenant_id=tenant_id)
        _add_charged(found, spans, rows, "opened_at")
    return found


def _add_charged(
    found: list[dict[str, int]],
    spans: Sequence[tuple[datetime, datetime]],
    rows: QuerySet[Any],
    instant: str,
) -> None:
    whens = [
        When(**{f"{instant}__gte": begin, f"{instant}__lt": until}, then=Value(number))
        for number, (begin, until) in enumerate(spans)
    ]
    placed = rows.annotate(span=Case(*whens, output_field=IntegerField())).exclude(span=None)
    grouped = placed.order_by().values_list("span", "alias").annotate(Sum("charge_nano"))
    for number, alias, nano in grouped:
        found[number][alias] = found[number].get(alias, 0) + nano


def _spans(
    start: datetime, end: datetime, unsummed: Iterable[datetime]
) -> list[tuple[datetime, datetime]]:
    """Return what to read from rows: hours that are not summed yet, and those that are cut."""
    edges = {floor_hour(edge) for edge in (start, end) if floor_hour(edge) != edge}
    spans = [(max(start, hour), min(end, hour + HOUR)) for hour in sorted({*unsummed, *edges})]
    return [(begin, until) for begin, until in spans if begin < until]


def _grouped(
    rows: QuerySet[Any], by: Grouping | None, instant: str, figures: dict[str, Any]
) -> Iterable[tuple[Any, ...]]:
    # Under names of their own, because a figure's is also a column's.
    named = {f"of_{name}": figure for name, figure in figures.items()}
    if by is None:
        figures_found = rows.aggregate(**named)
        return [("", *(figures_found[f"of_{name}"] or 0 for name in FIGURES))]
    rows, group = _by(rows, by, instant)
    columns = (group, *(f"of_{name}" for name in FIGURES))
    found: Iterable[tuple[Any, ...]] = rows.values(group).annotate(**named).values_list(*columns)
    return found


def _grouped_units(
    rows: QuerySet[Any],
    by: Grouping | None,
    instant: str,
    summed: Callable[..., Iterable[tuple[Any, ...]]],
) -> Iterable[tuple[Any, ...]]:
    """Return units beside tokens: the group, the unit, its quantity, and optionally its charge."""
    if by is None:
        return [("", *found) for found in summed(rows)]
    rows, group = _by(rows, by, instant)
    found = summed(rows, group)
    if by not in {"day", "hour"}:
        return found
    return [(in_utc(value), *rest) for value, *rest in found]


def _by(rows: QuerySet[Any], by: Grouping, instant: str) -> tuple[QuerySet[Any], str]:
    """Return the rows, and the name by which their group is asked for."""
    match by:
        case "day":
            return rows.annotate(group=TruncDay(instant, tzinfo=UTC)), "group"
        case "hour":
            return rows.annotate(group=TruncHour(instant, tzinfo=UTC)), "group"
        case _:
            return rows, COLUMNS[by]


def in_utc(instant: str | datetime) -> datetime:
    """Make an instant aware: from SQLite it comes as text, from PostgreSQL without a zone."""
    at = datetime.fromisoformat(instant) if isinstance(instant, str) else instant
    return at.replace(tzinfo=UTC)


def _add(found: dict[Any, list[int]], groups: Iterable[tuple[Any, ...]]) -> None:
    for group, *figures in groups:
        known = found.setdefault(group, [0] * len(FIGURES))
        found[group] = [a + int(b or 0) for a, b in zip(known, figures, strict=True)]


def _add_units(
    found: dict[Any, dict[str, int]], groups: Iterable[tuple[Any, str, int] | tuple[Any, ...]]
) -> None:
    """Add a unit's quantity to its group; what stands behind it is not summed."""
    for group, name, quantity, *_ in groups:
        known = found.setdefault(group, {})
        known[name] = known.get(name, 0) + quantity
