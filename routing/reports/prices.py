"""List the prices that hold now: for operators every subject of both books, for tenants what they pay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Q, Sum, Window
from django.db.models.functions import RowNumber

from gateway_project.lib import clock
from routing.models import Alias, ProviderModel
from routing.reports import holding, traffic
from routing.reports.holding import HeldPrice, Kind, has_further, picos_of
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.billing.instants import floor_day
from tenants.managed.tables import PRICES
from tenants.models import PriceVersion, Tenant, UsageDay
from tenants.prices import book, publishing
from tenants.prices.rating import Terms, terms

DAYS = 30
MAX_ROWS = 300


@dataclass(frozen=True, slots=True)
class EffectivePrice:
    """The price of one subject that holds now.

    picos     in the order of `holding.COLUMNS`; None: there is no price, or none to show
    unpriced  upstream calls of 30 days that had no price
    """

    book: str
    provider: str
    model: str
    tenant: str
    kind: Kind
    picos: tuple[int, ...] | None
    has_further: bool
    version: int | None
    effective_from: datetime | None
    source: str
    unpriced: int = 0

    @property
    def subject(self) -> str:
        return f"{self.provider}/{self.model}" if self.provider else self.model


@dataclass(frozen=True, slots=True)
class EffectivePrices:
    """The first MAX_ROWS prices, those that are missing and needed first."""

    rows: Sequence[EffectivePrice]
    has_more: bool


def effective(who: Access, tenant: Tenant | None, words: str = "") -> EffectivePrices:
    """Return the prices that hold, of subjects whose name has these words.

    With a tenant, what it pays for the aliases it has; without one, everything that is published and every
    model without a price, for who sees the prices of the platform; a member's only tenant is meant else.
    """
    if tenant is None and (Area.PRICES, "view") in who.platform:
        rows = _of_platform(clock.now())
    else:
        rows = _of_tenant(who, tenant, clock.now())
    found = [row for row in rows if words.lower() in row.subject.lower()]
    found.sort(key=_order)
    return EffectivePrices(found[:MAX_ROWS], len(found) > MAX_ROWS)


def _order(row: EffectivePrice) -> tuple[Any, ...]:
    return (not row.unpriced, -row.unpriced, row.picos is None, row.book, row.subject, row.tenant)


def _of_platform(now: datetime) -> Iterator[EffectivePrice]:
    missed = _unpriced(now)
    seen = set()
    for version in _current(now):
        place = (version.provider, version.model)
        if version.book == PriceVersion.Book.COST:
            seen.add(place)
        unpriced = missed.get(place, 0) if version.book == PriceVersion.Book.COST else 0
        # What had no price has one by now.
        yield _of_version(version, 0 if _terms(version) is not None else unpriced)
    models = ProviderModel.objects.filter(provider__tenant=None)
    known = set(models.order_by().values_list("provider__name", "upstream_id"))
    for provider, model in sorted({*known, *missed} - seen):
        cost, unpriced = PriceVersion.Book.COST, missed.get((provider, model), 0)
        yield EffectivePrice(
            cost, provider, model, "", "none", None, False, None, None, "", unpriced
        )


def _of_version(version: PriceVersion, unpriced: int) -> EffectivePrice:
    made = _terms(version)
    return EffectivePrice(
        version.book,
        version.provider,
        version.model,
        version.tenant.slug if version.tenant is not None else "",
        "charge",
        None if made is None else picos_of(made),
        made is not None and has_further(made),
        version.pk,
        version.effective_from,
        version.source,
        unpriced,
    )


def _terms(version: PriceVersion) -> Terms | None:
    try:
        instant = version.effective_from.timestamp()
        return terms(version.pk, instant, publishing.lines_of(version))
    except ValueError:  # written past our code; the book skips it, too
        return None


def _current(now: datetime) -> Iterable[PriceVersion]:
    """Return the version of each subject that counts now."""
    latest = Window(
        RowNumber(),
        partition_by=[F("book"), F("tenant"), F("provider"), F("model")],
        order_by=[F("effective_from").desc(), F("pk").desc()],
    )
    versions = PriceVersion.objects.filter(published_at__isnull=False, effective_from__lte=now)
    current = versions.annotate(place=latest).filter(Q(place=1))
    found: Iterable[PriceVersion] = (
        current.order_by().select_related("tenant").prefetch_related("lines")
    )
    return found


def _unpriced(now: datetime) -> Mapping[tuple[str, str], int]:
    """Return how many calls of 30 days had no price, by the platform's provider and model."""
    since = floor_day(now) - timedelta(days=DAYS - 1)
    rows = UsageDay.objects.order_by().filter(starts_at__gte=since, unpriced__gt=0)
    grouped = traffic.of_platforms_providers(rows).values_list("provider", "upstream_model")
    return {
        (provider, model): calls for provider, model, calls in grouped.annotate(n=Sum("unpriced"))
    }


def _of_tenant(who: Access, tenant: Tenant | None, now: datetime) -> Iterator[EffectivePrice]:
    """Yield what a tenant pays for each alias it has; without one, of all in which they may see prices."""
    tenants = _tenants(who, tenant)
    for each in tenants:
        own_names = Alias.objects.filter(tenant=each, enabled=True).values("name")
        rows = Alias.objects.filter(Q(tenant=each) | Q(tenant=None), enabled=True)
        aliases = list(
            rows.exclude(Q(tenant=None) & Q(name__in=own_names))
            .select_related("platform_alias")
            .order_by("name")
        )
        prices = holding.prices_of(_as_seen_in(who, each), aliases, each.pk, now)
        for alias in aliases:
            yield _of_alias(alias, each, prices[alias.pk])


def _of_alias(alias: Alias, tenant: Tenant, price: HeldPrice) -> EffectivePrice:
    made = price.terms
    is_version_told = price.kind in {"charge", "fee"}
    return EffectivePrice(
        PriceVersion.Book.CHARGE,
        "",
        alias.name,
        tenant.slug,
        price.kind,
        price.picos,
        made is not None and has_further(made),
        made.version if made is not None and is_version_told else None,
        datetime.fromtimestamp(made.effective_from, clock.now().tzinfo)
        if made is not None
        else None,
        "",
    )


MAX_TENANTS = 20


def _tenants(who: Access, tenant: Tenant | None) -> Sequence[Tenant]:
    if tenant is not None:
        may = PRICES.may(who, "view", PriceVersion(tenant=tenant, published_at=clock.now()))
        return [tenant] if may else []
    keys = who.tenants_where("view", Area.PRICES)
    return list(Tenant.objects.filter(pk__in=keys).order_by("slug")[:MAX_TENANTS])


def _as_seen_in(who: Access, tenant: Tenant) -> Access:
    """Return the access narrowed to one tenant, whose choice it is what its people are shown."""
    if who.sees_all_tenants:
        return who
    hidden = who.aliases_only & {tenant.pk}
    return Access(grants={tenant.pk: who.within(tenant.pk)}, aliases_only=hidden)


def is_priced_by_alias(name: str) -> bool:
    """Tell whether a name can be a subject of the charge book."""
    return name == book.OWN_PROVIDERS or Alias.objects.filter(tenant=None, name=name).exists()
