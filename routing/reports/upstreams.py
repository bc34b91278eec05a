"""Tell how providers and the models behind aliases are doing, as far as whoever asks may see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from django.db.models import Count, F, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from gateway_project.lib import clock
from routing.managed import CREDENTIALS, TARGETS, masked
from routing.models import Alias, Credential, Provider, ProviderModel, Target, UpstreamTest
from routing.reports import holding, traffic
from routing.reports.holding import HeldPrice
from routing.reports.traffic import CallCounts
from tenants.access.access import Access

Health = Literal["good", "warn", "bad", "idle"]
GOOD_PERCENT, FAIR_PERCENT = 99.0, 90.0


@dataclass(frozen=True, slots=True)
class ProviderFigures:
    """Holds what a list shows of a provider beside its row.

    credentials  those that whoever asks may see, newest first, as ••••1234
    test         the newest test, of its list of models or of a model; None: none, or not theirs to see
    """

    credentials: Sequence[str] = ()
    models: int = 0
    traffic: CallCounts = traffic.NONE
    test: UpstreamTest | None = None


@dataclass(frozen=True, slots=True)
class TargetFigures:
    """A model behind an alias: how its calls of this hour and the last ended, and its newest test."""

    target: Target
    traffic: CallCounts
    test: UpstreamTest | None

    @property
    def name(self) -> str:
        return str(self.target.provider_model)

    @property
    def is_off(self) -> bool:
        return not self.target.provider_model.provider.enabled

    @property
    def health(self) -> Health:
        """Judge by what callers met; where there were no calls, by the test."""
        percent = self.traffic.success_percent
        if percent is not None:
            return _health(percent)
        if self.test is None or self.is_off:
            return "idle"
        return "good" if self.test.ok else "bad"


@dataclass(frozen=True, slots=True)
class AliasFigures:
    """Holds what a list shows of an alias beside its row; `requests` is None for a link, which counts as the
    alias it leads to."""

    targets: Sequence[TargetFigures] = ()
    price: HeldPrice = field(default_factory=HeldPrice)
    requests: int | None = None


def of_providers(who: Access, providers: Sequence[Provider]) -> dict[int, ProviderFigures]:
    """Return the figures by provider, in six queries however many there are."""
    keys = [provider.pk for provider in providers]
    rows = Credential.objects.filter(provider__in=keys, enabled=True).order_by("-created_at")
    secrets: dict[int, list[str]] = {}
    for row in CREDENTIALS.visible(who, rows):
        secrets.setdefault(row.provider_id, []).append(masked(row))
    counted = ProviderModel.objects.filter(provider__in=keys).order_by().values_list("provider")
    models = dict(counted.annotate(Count("pk")))
    went = traffic.of_providers(who, clock.now())
    tests = {test.provider_id: test for test in _newest(_tests_seen(who, keys))}
    return {
        provider.pk: ProviderFigures(
            secrets.get(provider.pk, ()),
            models.get(provider.pk, 0),
            went.get((provider.tenant_id, provider.name), traffic.NONE),
            tests.get(provider.pk),
        )
        for provider in providers
    }


def of_aliases(
    who: Access, aliases: Sequence[Alias], tenant_id: int | None = None
) -> dict[int, AliasFigures]:
    """Return the figures by alias, prices as this tenant pays them (None: whoever owns the alias).

    The queries are as many however many there are.
    """
    now = clock.now()
    sources = [alias.platform_alias for alias in aliases if alias.platform_alias is not None]
    behind = targets_of(who, [*aliases, *sources])
    # Who is not shown every target pays for the others all the same.
    known = _models_of(behind) if who.sees_all_tenants else None
    prices = holding.prices_of(who, aliases, tenant_id, now, known)
    requests = traffic.requests_of(who, aliases, now)
    return {
        alias.pk: AliasFigures(
            () if alias.platform_alias_id else behind.get(alias.pk, ()),
            prices[alias.pk],
            requests.get(alias.pk),
        )
        for alias in aliases
    }


def _models_of(
    behind: Mapping[int, Sequence[TargetFigures]],
) -> Mapping[int, Sequence[tuple[str, str]]]:
    models = {
        alias: [each.target.provider_model for each in targets if not each.is_off]
        for alias, targets in behind.items()
    }
    return {
        alias: [(model.provider.name, model.upstream_id) for model in found]
        for alias, found in models.items()
    }


def targets_of(who: Access, aliases: Iterable[Alias]) -> Mapping[int, Sequence[TargetFigures]]:
    """Return the models behind each alias in the order in which they are tried, those they may see."""
    rows = Target.objects.filter(alias__in=[alias.pk for alias in aliases])
    seen = TARGETS.visible(who, rows).select_related("provider_model__provider")
    targets = list(seen.order_by("alias", "position", "pk"))
    if not targets:
        return {}
    went = traffic.of_models(who, clock.now())
    providers = {target.provider_model.provider_id for target in targets}
    tests = {
        (test.provider_id, test.upstream_id): test
        for test in _tests_seen(who, providers).exclude(upstream_id="")
    }
    found: dict[int, list[TargetFigures]] = {}
    for target in targets:
        model = target.provider_model
        place = (model.provider.tenant_id, model.provider.name, model.upstream_id)
        test = tests.get((model.provider_id, model.upstream_id))
        figures = TargetFigures(target, went.get(place, traffic.NONE), test)
        found.setdefault(target.alias_id, []).append(figures)
    return found


def _tests_seen(who: Access, providers: Iterable[int]) -> QuerySet[UpstreamTest]:
    """Return tests of one's own providers: an error may say where the platform's lie."""
    rows = UpstreamTest.objects.filter(provider__in=list(providers))
    return rows if who.sees_all_tenants else rows.filter(provider__tenant__in=who.tenants)


def _newest(rows: QuerySet[UpstreamTest]) -> QuerySet[UpstreamTest]:
    latest = Window(
        RowNumber(), partition_by=[F("provider")], order_by=[F("tested_at").desc(), F("pk").desc()]
    )
    return rows.annotate(place=latest).filter(Q(place=1)).order_by()


def _health(percent: float) -> Health:
    if percent >= GOOD_PERCENT:
        return "good"
    return "warn" if percent >= FAIR_PERCENT else "bad"
