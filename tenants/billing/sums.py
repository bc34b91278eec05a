"""What was used in a span of time, exact to the row: sums where they are up to date, rows for the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import TruncDay, TruncHour

from tenants.billing.instants import ceil_hour, floor_hour
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
COUNTS = ("calls", "failed", "estimated", "unpriced")
AMOUNTS = ("cost_nano", "charge_nano", "unfunded_nano")
FIGURES = (*COUNTS, *TOKEN_CLASSES, *AMOUNTS)
HOUR = timedelta(hours=1)
_CALL = ~Q(status=UsageRow.Status.CORRECTION)
_ESTIMATED = Q(usage_source__in=(UsageRow.Source.COUNTED, UsageRow.Source.RESERVED))
_OF_ROWS: dict[str, Any] = {
    "calls": Count("pk", filter=_CALL),
    "failed": Count("pk", filter=Q(status=UsageRow.Status.FAILED)),
    "estimated": Count("pk", filter=_CALL & _ESTIMATED),
    "unpriced": Count("pk", filter=_CALL & Q(charge_version=None)),
    **{name: Sum(name) for name in (*TOKEN_CLASSES, *AMOUNTS)},
}
_OF_SUMS: dict[str, Any] = {name: Sum(name) for name in FIGURES}
# So many spans are asked for in one query.
_SPANS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Total:
    """The figures of one group, in the order of FIGURES. `group` is a name, or for a span its beginning."""

    group: str | int | datetime
    figures: tuple[int, ...]

    def __getitem__(self, name: str) -> int:
        return self.figures[FIGURES.index(name)]


def totals(
    tenant_id: int | None, start: datetime, end: datetime, by: Grouping | None
) -> list[Total]:
    """What was used from `start` until `end`, in the order of the groups. Without a tenant: of all tenants;
    without `by`: one total, or none where nothing was used.

    Marks are read before sums: an hour that is summed meanwhile is still read from its rows.
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
    _add(found, _grouped(summed, by, "starts_at", _OF_SUMS))
    spans = _spans(start, end, unsummed)
    for place in range(0, len(spans), _SPANS_AT_ONCE):
        within = Q()
        for begin, until in spans[place : place + _SPANS_AT_ONCE]:
            within |= Q(opened_at__gte=begin, opened_at__lt=until)
        _add(found, _grouped(rows.filter(within), by, "opened_at", _OF_ROWS))
    return [
        Total(group, tuple(figures)) for group, figures in sorted(found.items()) if any(figures)
    ]


def _spans(
    start: datetime, end: datetime, unsummed: Iterable[datetime]
) -> list[tuple[datetime, datetime]]:
    """What is to be read from rows: hours that are not summed yet, and those that are cut."""
    edges = {floor_hour(edge) for edge in (start, end) if floor_hour(edge) != edge}
    spans = [(max(start, hour), min(end, hour + HOUR)) for hour in sorted({*unsummed, *edges})]
    return [(begin, until) for begin, until in spans if begin < until]


def _grouped(
    rows: QuerySet[Any], by: Grouping | None, instant: str, figures: dict[str, Any]
) -> Iterable[tuple[Any, ...]]:
    # Under names of their own, because a figure's is also a column's.
    named = {f"of_{name}": figure for name, figure in figures.items()}
    match by:
        case None:
            figures_found = rows.aggregate(**named)
            return [("", *(figures_found[f"of_{name}"] or 0 for name in FIGURES))]
        case "day":
            rows = rows.values(group=TruncDay(instant, tzinfo=UTC))
        case "hour":
            rows = rows.values(group=TruncHour(instant, tzinfo=UTC))
        case _:
            rows = rows.values(COLUMNS[by])
    group = COLUMNS.get(by, "group")
    columns = (group, *(f"of_{name}" for name in FIGURES))
    found: Iterable[tuple[Any, ...]] = rows.annotate(**named).values_list(*columns)
    return found


def _add(found: dict[Any, list[int]], groups: Iterable[tuple[Any, ...]]) -> None:
    for group, *figures in groups:
        known = found.setdefault(group, [0] * len(FIGURES))
        found[group] = [a + int(b or 0) for a, b in zip(known, figures, strict=True)]
