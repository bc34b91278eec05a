"""Write usage over time as CSV, a line per bucket and group, all groups."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Any

from asgiref.sync import sync_to_async

from gateway_project.lib.csv_text import cell
from tenants.access.access import Access
from tenants.reports import sums_query, usage_series
from tenants.reports.figures import Used
from tenants.reports.freshness import Freshness
from tenants.reports.sums_query import SumQuery
from tenants.reports.usage_series import SeriesQuestion

FIGURES = (
    *("requests", "calls", "failed", "absorbed", "estimated", "unpriced"),
    *("input", "cached", "written", "output", "reasoning", "charge_nano"),
    *("hits", "saved_nano"),
)
BUCKETS_AT_ONCE = 31
OTHERS = "others"  # end users who are not told apart


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


def pieces(who: Access, asked: SeriesQuestion, known: Freshness) -> Iterator[str]:
    """Return the file in pieces. Raise ValidationError or PermissionDenied before the first."""
    query, _ = usage_series.series_query(who, asked, known, is_whole=True)
    return _pieces(query, with_cost=usage_series.shows_cost(who, asked.tenant_id))


async def streamed(found: Iterator[str]) -> AsyncIterator[str]:
    """Make each piece when the receiver takes it, where a server would otherwise make all at once."""
    make = sync_to_async(lambda: next(found, None))
    while (piece := await make()) is not None:
        yield piece


def _pieces(query: SumQuery, *, with_cost: bool) -> Iterator[str]:
    writer: Any = csv.writer(_Echo(), lineterminator="\r\n")
    names = (*FIGURES, *(("cost_nano",) if with_cost else ()))
    yield writer.writerow(("starts_at", query.by, "name", *names))
    # A few buckets a query, so that many groups are never all in memory.
    for place in range(0, len(query.spans), BUCKETS_AT_ONCE):
        some = replace(query, spans=query.spans[place : place + BUCKETS_AT_ONCE])
        yield "".join(_lines(writer, some, names))


def _lines(writer: Any, query: SumQuery, names: Sequence[str]) -> Iterator[str]:
    found = sums_query.every_group(query)
    labels = usage_series.labels(query.by or "", sorted({group for _, group in found}, key=str))
    for (bucket, group), figures in sorted(found.items(), key=_place):
        used = Used.of(figures, with_cost="cost_nano" in names)
        begins = query.spans[bucket][0].isoformat()
        named = ("", OTHERS) if group is None else (str(group), labels.get(group, (str(group),))[0])
        cells = map(cell, (begins, *named))
        yield writer.writerow([*cells, *(getattr(used, name) for name in names)])


def _place(line: tuple[tuple[int, Any], Any]) -> tuple[int, str]:
    (bucket, group), _ = line
    return bucket, "" if group is None else str(group)
