"""Show how things go at a glance: the data of the console's first page and of its route."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tenants.access.access import Access
from tenants.billing.instants import ceil_hour, floor_hour
from tenants.models.rollups import HISTOGRAMS
from tenants.reports import sums_query, usage_series
from tenants.reports.attention import (
    REFUSED,
    REFUSED_WITHIN,
    Attention,
    AttentionQuestion,
    ProviderCalls,
    attention,
)
from tenants.reports.buckets import Span, TimeBuckets
from tenants.reports.figures import Latency, Used
from tenants.reports.freshness import Freshness, freshness
from tenants.reports.sums_query import ByBucket, SumQuery
from tenants.reports.usage_series import SeriesQuestion, UsageSeries

HOUR = timedelta(hours=1)
_LAST_HOURS = 2  # the place of that bucket


@dataclass(frozen=True, slots=True)
class Pace:
    """Hold what was used in a span, and about how long calls took."""

    used: Used
    latency: Latency


@dataclass(frozen=True, slots=True)
class ProviderHour:
    """Tell how a provider did since the beginning of the last full hour."""

    name: str
    used: Used
    latency: Latency

    @property
    def failed(self) -> int:
        return self.used.failed + self.used.abandoned

    @property
    def success_percent(self) -> float:
        """Return how many of its calls it answered, whatever was tried after the others."""
        return 100 - 100 * self.failed / self.used.calls if self.used.calls else 100.0


@dataclass(frozen=True, slots=True)
class Overview:
    """The figures of a span beside those of the span before it, usage by alias over time, what needs
    somebody, and the providers of the last hour. `refused` are requests that came to no call, by bucket: no
    other figure counts them."""

    now: Pace
    before: Pace
    refused: tuple[int, ...]
    refused_before: int
    by_alias: UsageSeries
    attention: list[Attention]
    providers: list[ProviderHour]
    freshness: Freshness


def overview(who: Access, asked: SeriesQuestion, at: datetime) -> Overview:
    """Return it as it is at an instant. Raise ValidationError or PermissionDenied as the series does."""
    tenants = usage_series.visible_tenants(who, asked.tenant_id)
    known = freshness(at)
    query, shown = usage_series.series_query(who, replace(asked, by="alias", filters={}), known)
    spans = *_spans(shown, at), _last_hours(at)
    beside = SumQuery(spans, tenants, "provider", {}, HISTOGRAMS, known.kept_from)
    together = sums_query.add_up_together(
        query,
        beside,
        sums_query.count_refusals((spans[0], *shown.spans), tenants),
        sums_query.count_failures(at - REFUSED_WITHIN, REFUSED, tenants),
    )
    found, (refused, refused_credentials) = together.every_group, together.counts
    with_cost = usage_series.shows_cost(who, asked.tenant_id)
    by_alias = usage_series.series_of("alias", shown, together.series, with_cost=with_cost)
    before, now = (_pace(found, bucket, with_cost=with_cost) for bucket in (0, 1))
    shows_providers = "provider" not in usage_series.hidden_columns(who, asked.tenant_id)
    providers = _providers(found, with_cost=with_cost) if shows_providers else []
    question = AttentionQuestion(
        who,
        tenants,
        at,
        asked.zone,
        known,
        by_alias,
        refused_credentials,
        [ProviderCalls(one.name, one.used.calls, one.failed) for one in providers],
    )
    return Overview(
        now=now,
        before=before,
        refused=tuple(refused.get((1 + place, ""), 0) for place in range(len(shown))),
        refused_before=refused.get((0, ""), 0),
        by_alias=by_alias,
        attention=attention(question),
        providers=providers,
        freshness=known,
    )


def _spans(shown: TimeBuckets, at: datetime) -> tuple[Span, Span]:
    """Return a span as long as the one that is shown, before it, and that one as far as it is over."""
    end = max(shown.start + HOUR, min(shown.end, ceil_hour(at)))
    return (shown.start - (end - shown.start), shown.start), (shown.start, end)


def _last_hours(at: datetime) -> Span:
    """Return the hour that runs, with the one before it."""
    return floor_hour(at) - HOUR, floor_hour(at) + HOUR


def _pace(found: ByBucket, bucket: int, *, with_cost: bool) -> Pace:
    """Return the figures of all providers together in a bucket."""
    added: Counter[str] = Counter()
    for (place, _), figures in found.items():
        if place == bucket:
            added.update(figures)
    return Pace(Used.of(added, with_cost=with_cost), Latency.of(added))


def _providers(found: ByBucket, *, with_cost: bool) -> list[ProviderHour]:
    """Return the providers of the last bucket, the busiest first. Calls that never reached one have none."""
    rows = [
        ProviderHour(str(name), Used.of(figures, with_cost=with_cost), Latency.of(figures))
        for (bucket, name), figures in found.items()
        if bucket == _LAST_HOURS and name
    ]
    return sorted(rows, key=lambda one: -one.used.calls)
