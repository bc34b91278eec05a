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
from tenants.prices import dollars, publishing
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
    return Alias.objects.filter(name=version.model).exists()
