"""Check a price that somebody types, of an alias (charge) or of a model (cost), against what exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, QuerySet, Value
from django.db.models.functions import Concat

from gateway_project.lib.commands import parse_field
from gateway_project.lib.db import durable_transaction
from routing.models import Alias, ProviderModel
from tenants import directory, units
from tenants.models import PriceVersion, Tenant
from tenants.prices import book, dollars, publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line

MOST_KNOWN = 10
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
    """The subject of a price, as it was typed."""

    alias: str | None = None
    tenant: str | None = None
    provider: str | None = None
    model: str | None = None

    def subject(self) -> Subject:
        """Find the subject. Raise ValidationError if it names nothing, or both books."""
        if self.alias and not (self.provider or self.model):
            return Subject.charge(self.alias, directory.tenant_or_platform(self.tenant))
        if self.provider and self.model and not (self.alias or self.tenant):
            return Subject.cost(self.provider, self.model)
        raise ValidationError(
            "Give --alias (with --tenant for one tenant), or --provider and --model."
        )


def lines(typed: Mapping[str, Any]) -> list[Line]:
    """Return price lines from the options of CLASSES that were given, and from those of other units."""
    of_tokens = [
        Line(token_class, parse_field(option, dollars.pico, typed[option]))
        for option, token_class in CLASSES.items()
        if typed.get(option) is not None
    ]
    return [
        *of_tokens,
        *(parse_field("unit", _unit_line, text) for text in typed.get("unit") or ()),
    ]


def _unit_line(text: str) -> Line:
    """Read a price such as `images=0.04`. Raises ValueError."""
    name, _, amount = text.partition("=")
    known = {unit.name: unit for unit in units.beside_tokens()}
    if name not in known:
        names = ", ".join(known) or "none yet"
        raise ValueError(f"{text!r} is not a price of a unit; write UNIT=DOLLARS. Units: {names}.")
    return Line(name, dollars.pico_of_unit(amount, known[name].priced_per))


def publish(
    named: Named, typed: Mapping[str, Any], by: str, now: datetime, *, is_ahead: bool
) -> PriceVersion:
    """Publish a price of something that exists, or (`is_ahead`) will. Raise ValidationError."""
    subject, prices = named.subject(), lines(typed)
    if not is_ahead:
        _refuse_unknown(subject)
    return publishing.set_price(subject, prices, by, now, source=by)


def is_known(of: PriceVersion | Subject) -> bool:
    """Tell whether there is such a model or alias now; a price may come first, or be mistyped."""
    if of.book == PriceVersion.Book.COST:
        models = ProviderModel.objects.filter(upstream_id=of.model)
        return models.filter(provider__name=of.provider, provider__tenant=None).exists()
    return of.model == book.OWN_PROVIDERS or _is_chargeable(of.model)


def _refuse_unknown(subject: Subject) -> None:
    """Raise ValidationError with names that exist unless there is such a model or alias."""
    if is_known(subject):
        return
    is_cost = subject.book == PriceVersion.Book.COST
    field, what = ("model", "model") if is_cost else ("alias", "alias of the platform")
    name = f"{subject.provider}/{subject.model}" if is_cost else subject.model
    known = ", ".join(_known_models() if is_cost else _known_aliases()) or "none yet"
    told = f"There is no {what} {name[:100]!r}. Known ones: {known}."
    message = f"{told} Say --ahead to publish it before there is."
    raise ValidationError({field: message})


def _known_models() -> list[str]:
    models = ProviderModel.objects.filter(provider__tenant=None).order_by("-pk")
    pairs = models.values_list("provider__name", "upstream_id")[:MOST_KNOWN]
    return [f"{provider}/{model}" for provider, model in pairs]


def _known_aliases() -> list[str]:
    names = Alias.objects.filter(tenant=None).order_by("-pk").values_list("name", flat=True)
    return list(names[:MOST_KNOWN])


def _is_chargeable(name: str) -> bool:
    """Tell whether calls are charged under this name: it is an alias or a model of the platform."""
    provider, _, model = name.partition("/")
    models = ProviderModel.objects.filter(provider__tenant=None, provider__name=provider)
    aliases = Alias.objects.filter(tenant=None, name=name)
    return aliases.exists() or models.filter(upstream_id=model).exists()


def uncharged() -> QuerySet[PriceVersion]:
    """Ask for published charges under names that only tenants use; no call is charged by them."""
    ours = Alias.objects.filter(tenant=None).values("name")
    models = (
        ProviderModel.objects.filter(provider__tenant=None)
        .annotate(full=Concat("provider__name", Value("/"), "upstream_id"))
        .filter(full=OuterRef("model"))
    )
    versions = PriceVersion.objects.filter(
        book=PriceVersion.Book.CHARGE,
        published_at__isnull=False,
        model__in=Alias.objects.filter(tenant__isnull=False).values("name"),
    )
    return versions.exclude(model__in=ours).exclude(Exists(models))


def subject_of(
    alias: str = "", tenant: Tenant | None = None, provider: str = "", model: str = ""
) -> Subject:
    """Return the subject of a price by its names. Raise ValidationError if they name nothing, or both."""
    if alias and not (provider or model):
        return Subject.charge(alias, tenant)
    if provider and model and not alias and tenant is None:
        return Subject.cost(provider, model)
    raise ValidationError(
        "Name an alias (with a tenant for one tenant), or a provider and its model."
    )


def publish_if_seen(
    subject: Subject,
    lines: Sequence[Line],
    by: str,
    now: datetime,
    *,
    seen: int | None,
    starts: datetime | None = None,
    source: str = "",
) -> PriceVersion:
    """Publish a version for somebody who looked at the version `seen` (None: at none) when they decided.

    Raise ValidationError, and publish nothing, if there is another by now.
    """
    with durable_transaction():
        newest = publishing.published(subject)[:1]
        if (newest[0].pk if newest else None) != seen:
            raise ValidationError(
                "Another price of this was published meanwhile; look at it before you publish yours.",
                code="conflict",
            )
        made = publishing.draft(subject, lines, starts or now, source)
        return publishing.publish(made, by, now)
