"""Make the demo's tenants, keys, providers, aliases and prices, by the functions that everybody uses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from string import ascii_letters, digits

from gateway_project.demo.catalogue import (
    ALIASES,
    KEY_NAMES,
    MODELS,
    TENANTS,
    DemoAlias,
    DemoModel,
    DemoTenant,
)
from gateway_project.demo.traffic import DAYS, PricedAlias, PricedModel
from routing.models import Alias, Provider, ProviderModel, Target
from tenants.keys import keys
from tenants.models import ApiKey, RateLimit, Tenant
from tenants.prices import dollars, publishing, rating
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line

BY = "seed_demo"
DAY = timedelta(days=1)


def make_tenants(count: int, since: datetime) -> list[Tenant]:
    """Make the first tenants of the catalogue, which came before their first call."""
    return [_tenant(one, since) for one in TENANTS[:count]]


def _tenant(one: DemoTenant, since: datetime) -> Tenant:
    row = Tenant(
        slug=one.slug,
        name=one.name,
        time_zone=one.time_zone,
        shows_upstreams=one.shows_upstreams,
        created_at=since,
    )
    row.full_clean()
    row.save()
    RateLimit.objects.create(tenant=row, metric="requests", window="minute", amount=1_200)
    return row


def make_keys(
    random: Random, tenants: Sequence[Tenant], count: int, now: datetime
) -> list[tuple[ApiKey, int]]:
    """Make so many keys, more for the first tenants, and say how busy each is."""
    shares = [1 / (place + 2) for place in range(len(tenants))]
    made = []
    for tenant, share in zip(tenants, shares, strict=True):
        own = max(2, round(count * share / sum(shares)))
        for place in range(own):
            weight = max(1, round(10_000 * share / (place + 1) ** 1.2))
            made.append((_key(random, tenant, place, now), weight))
    _end_some(made, now)
    return made


def _key(random: Random, tenant: Tenant, place: int, now: datetime) -> ApiKey:
    number, name = divmod(place, len(KEY_NAMES))
    key = ApiKey(
        tenant=tenant,
        public_id="".join(random.choices(ascii_letters + digits, k=10)),
        name=f"{KEY_NAMES[name]} {number + 1}" if number else KEY_NAMES[name],
        created_at=tenant.created_at,
        last_used_at=now - timedelta(minutes=place),
    )
    key.full_clean()
    key.save()
    keys.add_secret(key)
    return key


def _end_some(made: Sequence[tuple[ApiKey, int]], now: datetime) -> None:
    """Have two keys expire within the week, and one be revoked."""
    for (key, _), days in zip(made[1:3], (3, 6), strict=False):
        key.expires_at = now + days * DAY
        key.save(update_fields=["expires_at"])
    for key, _ in made[-1:]:
        key.revoked_at, key.revoked_reason = now - 2 * DAY, "Found in a public repository"
        key.save(update_fields=["revoked_at", "revoked_reason"])


def make_models(sandbox: str, now: datetime) -> list[PricedAlias]:
    """Make providers that lead to the sandbox, their models, aliases, and prices that hold for all calls."""
    since = now - (DAYS + 1) * DAY
    models = {one.target: _model(one, sandbox, since) for one in MODELS}
    return [_alias(one, models, since) for one in ALIASES]


def _model(one: DemoModel, sandbox: str, since: datetime) -> tuple[ProviderModel, PricedModel]:
    provider = Provider.objects.filter(tenant=None, name=one.provider).first()
    if provider is None:
        provider = Provider(
            name=one.provider,
            vendor="sandbox",
            protocol="chat",
            base_url=sandbox,
            auth_kind=Provider.AuthKind.NONE,
            allow_private_network=True,
            created_at=since,
        )
        provider.full_clean()
        provider.save()
    row, _ = ProviderModel.objects.get_or_create(
        provider=provider, upstream_id=one.name, defaults={"context_window": 200_000}
    )
    if one.dollars is None:
        return row, PricedModel(one, None)
    terms = _publish(Subject.cost(one.provider, one.name), _lines(one.dollars), since)
    return row, PricedModel(one, terms)


def _alias(
    one: DemoAlias, models: dict[str, tuple[ProviderModel, PricedModel]], since: datetime
) -> PricedAlias:
    row, is_new = Alias.objects.get_or_create(tenant=None, name=one.name)
    targets = [models[target] for target in one.targets]
    if is_new:
        for position, (model, _) in enumerate(targets):
            Target.objects.create(alias=row, provider_model=model, position=position)
    first = targets[0][1]
    terms = None
    if first.model.dollars is not None:
        factor = Decimal(100 + one.markup_percent) / 100
        marked_up = [str(Decimal(text) * factor) for text in first.model.dollars]
        terms = _publish(Subject.charge(one.name), _lines(marked_up), since)
    return PricedAlias(one, tuple(priced for _, priced in targets), terms)


def _lines(of_million: Sequence[str]) -> list[Line]:
    names = ("input_fresh", "cache_read", "output_visible")
    return [Line(name, dollars.pico(text)) for name, text in zip(names, of_million, strict=True)]


def _publish(subject: Subject, lines: Sequence[Line], since: datetime) -> rating.Terms:
    version = publishing.set_price(subject, lines, BY, since, "made up for the demo")
    return rating.terms(version.pk, since.timestamp(), lines)
