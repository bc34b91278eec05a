"""Say what a price would have come to on what was used, and how versions of a price differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet, Sum

from routing.reports import traffic
from tenants.billing import unit_sums
from tenants.billing.instants import floor_day
from tenants.models import PriceVersion, UsageDay
from tenants.prices import book, publishing, rating
from tenants.prices.publishing import Subject
from tenants.prices.rating import DEFAULT_TIER, PICO_PER_NANO, Line
from tenants.token_classes import TOKEN_CLASSES

DAYS = 30


@dataclass(frozen=True, slots=True)
class PricePreview:
    """Tells what the tokens of 30 days come to by a subject's prices of now and by others, in nano-dollars.

    before    None: there is no price now
    booked    what these calls really cost, or were charged
    is_rough  tiers, thresholds and units of the prices were left out: sums do not tell them apart
    """

    requests: int
    before: int | None
    after: int
    booked: int
    since: datetime
    is_rough: bool
    tokens: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LineChange:
    """One price of a version beside the same one of the version before; None: there is none."""

    token_class: str
    service_tier: str
    above_tokens: int
    before: int | None
    after: int | None

    @property
    def is_changed(self) -> bool:
        return self.before != self.after


def preview(subject: Subject, lines: Sequence[Line], now: datetime) -> PricePreview:
    """Rate the sums of 30 days, today included, by these lines. Raise ValueError if they cannot rate."""
    after = rating.terms(0, 0.0, lines)
    current = current_version(subject, now)
    since = floor_day(now) - timedelta(days=DAYS - 1)
    rows = _rows(subject, UsageDay.objects.order_by().filter(starts_at__gte=since), current)
    names = (*TOKEN_CLASSES, "requests", "cost_nano", "charge_nano")
    found = rows.aggregate(**{f"of_{name}": Sum(name) for name in names})
    sums = {name: found[f"of_{name}"] or 0 for name in names}
    counts = {name: sums[name] for name in TOKEN_CLASSES}
    counts |= dict(unit_sums.of_sums(rows))
    earlier = publishing.lines_of(current) if current is not None else []
    is_cost = subject.book == PriceVersion.Book.COST
    return PricePreview(
        requests=sums["requests"],
        before=_amount(counts, rating.terms(0, 0.0, earlier)) if earlier else None,
        after=_amount(counts, after),
        booked=sums["cost_nano" if is_cost else "charge_nano"],
        since=since,
        is_rough=any(not is_usual(line) for line in (*lines, *earlier)),
        tokens={name: counts[name] for name in TOKEN_CLASSES if counts[name]},
    )


def is_usual(line: Line) -> bool:
    """Tell whether it is the price of every call, whatever its tier and the length of its input."""
    return line.service_tier == DEFAULT_TIER and not line.above_tokens


def current_version(subject: Subject, now: datetime) -> PriceVersion | None:
    """Return the published version that counts now."""
    return next((v for v in publishing.published(subject) if v.effective_from <= now), None)


def differences(before: Iterable[Line], after: Iterable[Line]) -> Iterator[LineChange]:
    """Yield every price of two versions, in the order in which prices are shown."""
    old, new = ({_place(line): line.pico_per_token for line in lines} for lines in (before, after))
    for tier, above, name in sorted({*old, *new}, key=_order):
        place = (tier, above, name)
        yield LineChange(name, tier, above, old.get(place), new.get(place))


def _place(line: Line) -> tuple[str, int, str]:
    return (line.service_tier, line.above_tokens, line.token_class)


def _order(place: tuple[str, int, str]) -> tuple[Any, ...]:
    tier, above, name = place
    known = TOKEN_CLASSES.index(name) if name in TOKEN_CLASSES else len(TOKEN_CLASSES)
    return (tier != DEFAULT_TIER, tier, above, known, name)


def _amount(counts: Mapping[str, int], by: rating.Terms) -> int:
    """Return nano-dollars, rounded once: a sum of many calls is not the sum of their rounded amounts."""
    step = by.tiers[DEFAULT_TIER][-1]
    rates = {**dict(zip(TOKEN_CLASSES, step.picos, strict=True)), **step.rates}
    pico = sum(quantity * rates.get(name, 0) for name, quantity in counts.items())
    return (pico + PICO_PER_NANO // 2) // PICO_PER_NANO


def _rows(
    subject: Subject, rows: QuerySet[UsageDay], current: PriceVersion | None
) -> QuerySet[UsageDay]:
    """Return the sums that the subject prices."""
    if subject.book == PriceVersion.Book.COST:
        rows = traffic.of_platforms_providers(rows)
        rows = rows.filter(provider=subject.provider, upstream_model=subject.model)
        # Where there is a price, calls that cost nothing were sent with a tenant's own credential.
        is_paid = current is not None and any(line.pico_per_token for line in current.lines.all())
        return rows.filter(cost_nano__gt=0) if is_paid else rows
    if subject.model == book.OWN_PROVIDERS:
        rows = traffic.of_own_providers(rows)
    else:
        rows = traffic.of_platforms_aliases(rows.filter(alias=subject.model))
    if subject.tenant is not None:
        return rows.filter(tenant=subject.tenant)
    own = PriceVersion.objects.filter(
        book=subject.book,
        model=subject.model,
        tenant__isnull=False,
        published_at__isnull=False,
    )
    return rows.exclude(tenant__in=own.values("tenant"))
