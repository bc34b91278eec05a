"""A price somebody types, of an alias (charge) or of a model (cost), checked against what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError

from gateway_project.lib.commands import parsed
from routing.models import Alias, ProviderModel
from tenants import directory
from tenants.models import PriceVersion
from tenants.prices import book, dollars, publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line

# Option → token class.
CLASSES = {
    "input": "input_fresh",
    "output": "output_visible",
    "cache_read": "cache_read",
    "cache_write": "cache_write",
    "cache_write_long": "cache_write_long",
    "input_audio": "input_audio",
    "output_audio": "output_audio",
    "reasoning": "output_reasoning",
}


@dataclass(frozen=True, slots=True)
class Named:
    """What the price is of, as it was typed."""

    alias: str | None = None
    tenant: str | None = None
    provider: str | None = None
    model: str | None = None

    def subject(self) -> Subject:
        """Raises ValidationError for what names nothing, or both books."""
        if self.alias and not (self.provider or self.model):
            return Subject.charge(self.alias, directory.tenant_or_platform(self.tenant))
        if self.provider and self.model and not (self.alias or self.tenant):
            return Subject.cost(self.provider, self.model)
        raise ValidationError(
            "Give --alias (with --tenant for one tenant), or --provider and --model."
        )


def lines(typed: Mapping[str, Any]) -> list[Line]:
    """From the options of CLASSES that were given."""
    return [
        Line(token_class, parsed(option, dollars.pico, typed[option]))
        for option, token_class in CLASSES.items()
        if typed.get(option) is not None
    ]


def publish(named: Named, typed: Mapping[str, Any], by: str, now: datetime) -> PriceVersion:
    return publishing.set_price(named.subject(), lines(typed), by, now, source=by)


def is_known(version: PriceVersion) -> bool:
    """Whether there is such a model or alias now; a price may be made before, or be a mistyped one."""
    if version.book == PriceVersion.Book.COST:
        models = ProviderModel.objects.filter(upstream_id=version.model)
        return models.filter(provider__name=version.provider, provider__tenant=None).exists()
    return version.model == book.OWN_PROVIDERS or _is_chargeable(version.model)


def _is_chargeable(name: str) -> bool:
    """Whether calls are charged under this name: it is an alias or a model of the platform's."""
    provider, _, model = name.partition("/")
    models = ProviderModel.objects.filter(provider__tenant=None, provider__name=provider)
    aliases = Alias.objects.filter(tenant=None, name=name)
    return aliases.exists() or models.filter(upstream_id=model).exists()


def uncounted() -> list[PriceVersion]:
    """Published charges under names that only tenants have given; no call is charged by them."""
    names = Alias.objects.filter(tenant__isnull=False).values("name")
    platforms = Alias.objects.filter(tenant=None).values("name")
    versions = PriceVersion.objects.filter(
        book=PriceVersion.Book.CHARGE, published_at__isnull=False, model__in=names
    ).exclude(model__in=platforms)
    latest: dict[tuple[str, int | None], PriceVersion] = {}
    for version in versions.select_related("tenant").order_by("effective_from"):
        latest[version.model, version.tenant_id] = version
    return [version for (name, _), version in latest.items() if not _is_chargeable(name)]
