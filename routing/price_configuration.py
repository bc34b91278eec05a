"""Declare what a file can say about prices: of aliases (charge) and of providers' models (cost).

A published price never changes: other amounts become another version from now on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from gateway_project.lib import actor, clock
from gateway_project.lib.secret import Secret
from routing import price_setting
from tenants import managed, units
from tenants.configuration.fields import ConfigurationField, amount, parse, text
from tenants.configuration.kinds import ConfigurationKind, Identity, Normal, register
from tenants.configuration.section import FileSection
from tenants.models import PriceVersion
from tenants.prices import dollars, publishing
from tenants.prices.rating import Line
from tenants.token_classes import TOKEN_CLASSES

USUAL_TIER = "default"
_OPTIONS = {token_class: option for option, token_class in price_setting.CLASSES.items()}


@dataclass(frozen=True, slots=True)
class SubjectField(ConfigurationField):
    """A name in the subject of a price; null for the other book's."""

    def read(self, value: Any, scope: FileSection) -> str | None:
        return None if value is None else text(value)

    def show(self, row: Any, scope: FileSection) -> str | None:
        is_charge = row.book == PriceVersion.Book.CHARGE
        shown = (
            {"alias": row.model} if is_charge else {"provider": row.provider, "model": row.model}
        )
        return shown.get(self.name)

    def usual(self, model: Any) -> None:
        return None


@dataclass(frozen=True, slots=True)
class AmountsField(ConfigurationField):
    """Dollars by class: of tokens per million, or of another unit for as many as its price is quoted for."""

    of_tokens: bool = True

    def read(self, value: Any, scope: FileSection) -> dict[str, str]:
        return _shown_amounts(_lines(value, self.of_tokens), self.of_tokens)

    def show(self, row: Any, scope: FileSection) -> dict[str, str]:
        lines = [each for each in publishing.lines_of(row) if _tier(each) == (USUAL_TIER, 0)]
        return _shown_amounts(lines, self.of_tokens)

    def usual(self, model: Any) -> dict[str, str]:
        return {}


@dataclass(frozen=True, slots=True)
class TiersField(ConfigurationField):
    """Amounts of other service tiers, and of calls whose input is longer than so many tokens."""

    def read(self, value: Any, scope: FileSection) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            raise ValidationError("Write a list of tiers.")
        lines = [line for each in value for line in _tier_lines(each)]
        tiers = [_tier(line) for line in lines]
        if (USUAL_TIER, 0) in tiers:
            message = "The default tier from 0 tokens stands in per_million and per_unit."
            raise ValidationError(message)
        if len({(line.token_class, _tier(line)) for line in lines}) < len(lines):
            raise ValidationError("A class has two prices in one tier and threshold.")
        return _shown_tiers(lines)

    def show(self, row: Any, scope: FileSection) -> list[dict[str, Any]]:
        lines = publishing.lines_of(row)
        return _shown_tiers(each for each in lines if _tier(each) != (USUAL_TIER, 0))

    def usual(self, model: Any) -> list[Any]:
        return []


def _tier(line: Line) -> tuple[str, int]:
    return line.service_tier, line.above_tokens


def _lines(value: Any, of_tokens: bool, tier: str = USUAL_TIER, above: int = 0) -> list[Line]:
    """Read amounts by class. Raise ValidationError."""
    if not isinstance(value, dict):
        raise ValidationError('Write a mapping such as {input: "3.00", output: "15.00"}.')
    return [_line(name, each, of_tokens, tier, above) for name, each in value.items()]


def _line(name: str, value: Any, of_tokens: bool, tier: str, above: int) -> Line:
    if of_tokens:
        if name not in price_setting.CLASSES:
            known = ", ".join(price_setting.CLASSES)
            raise ValidationError(f"{name[:60]!r} is not a class of tokens. Classes: {known}.")
        return Line(price_setting.CLASSES[name], parse(dollars.pico, amount(value)), tier, above)
    known_units = {unit.name: unit for unit in units.beside_tokens()}
    if name not in known_units:
        known = ", ".join(known_units) or "none yet"
        raise ValidationError(f"{name[:60]!r} is not a unit. Units: {known}.")
    per = known_units[name].priced_per
    return Line(
        name, parse(lambda each: dollars.pico_of_unit(each, per), amount(value)), tier, above
    )


def _tier_lines(value: Any) -> list[Line]:
    known = {"service_tier", "above_tokens", "per_million", "per_unit"}
    if not isinstance(value, dict) or not set(value) <= known:
        raise ValidationError(f"A tier is a mapping with {', '.join(sorted(known))}.")
    tier, above = value.get("service_tier", USUAL_TIER), value.get("above_tokens", 0)
    if not isinstance(tier, str) or isinstance(above, bool) or not isinstance(above, int):
        raise ValidationError("service_tier is a text, above_tokens a whole number.")
    of_tokens = _lines(value.get("per_million", {}), True, tier, above)
    return [*of_tokens, *_lines(value.get("per_unit", {}), False, tier, above)]


def _shown_amounts(lines: Iterable[Line], of_tokens: bool) -> dict[str, str]:
    """Return amounts by class, in the registry's order."""
    found = [line for line in lines if (line.token_class in TOKEN_CLASSES) == of_tokens]
    return {
        _OPTIONS.get(line.token_class, line.token_class): dollars.said(
            line.pico_per_token, units.of(line.token_class).priced_per
        )
        for line in sorted(found, key=lambda line: units.place(line.token_class))
    }


def _shown_tiers(lines: Iterable[Line]) -> list[dict[str, Any]]:
    by_tier: dict[tuple[str, int], list[Line]] = {}
    for line in lines:
        by_tier.setdefault(_tier(line), []).append(line)
    shown = []
    for (tier, above), each in sorted(by_tier.items()):
        amounts = {
            "per_million": _shown_amounts(each, True),
            "per_unit": _shown_amounts(each, False),
        }
        head = {"service_tier": tier, "above_tokens": above}
        shown.append({**head, **{name: value for name, value in amounts.items() if value}})
    return shown


class PriceKind(ConfigurationKind):
    """Prices as they are now. What is published for later stays, and is not part of a file."""

    section = "prices"
    order = 80
    model = PriceVersion
    is_prunable = False  # a published price stays
    identity = (SubjectField("alias"), SubjectField("provider"), SubjectField("model"))
    fields = (
        AmountsField("per_million", "lines"),
        AmountsField("per_unit", of_tokens=False),
        TiersField("tiers"),
    )

    def rows(self, scope: FileSection) -> Any:
        """Return the version of each subject that applies now."""
        published = super().rows(scope).filter(published_at__isnull=False)
        began: QuerySet[Any] = published.filter(effective_from__lte=clock.now())
        latest: dict[tuple[str, str, str], PriceVersion] = {}
        for row in began.order_by("book", "provider", "model", "effective_from").prefetch_related(
            "lines"
        ):
            latest[row.book, row.provider, row.model] = row
        return list(latest.values())

    def check_missing(self, identity: Identity, scope: FileSection) -> None:
        alias, provider, model = identity
        is_charge = alias is not None and (provider, model) == (None, None)
        is_cost = alias is None and provider is not None and model is not None
        if not is_charge and not (is_cost and scope.tenant is None):
            costs = "" if scope.tenant is not None else ", or provider and model for what it costs"
            raise ValidationError(f"Name an alias{costs}.")

    def create(self, scope: FileSection, values: Normal) -> tuple[Any, Secret | None]:
        return self._publish(scope, values), None

    def change(self, scope: FileSection, row: Any, values: Normal) -> None:
        kept = {field.name: field.show(row, scope) for field in (*self.identity, *self.fields)}
        self._publish(scope, {**kept, **values})

    def _publish(self, scope: FileSection, values: Mapping[str, Any]) -> PriceVersion:
        """Publish a version from now on."""
        lines = [
            *_lines(values.get("per_million", {}), True),
            *_lines(values.get("per_unit", {}), False),
            *(line for each in values.get("tiers", []) for line in _tier_lines(each)),
        ]
        is_charge, now = values["alias"] is not None, clock.now()
        by = actor.current().name
        given = {
            "book": PriceVersion.Book.CHARGE if is_charge else PriceVersion.Book.COST,
            "tenant": scope.tenant,
            "provider": "" if is_charge else values["provider"],
            "model": values["alias"] if is_charge else values["model"],
            "effective_from": now,
            "source": by[:200],
            "lines": [_columns(line) for line in lines],
        }
        version = managed.create(scope.who, PriceVersion, given).row
        return publishing.publish(version, by, now)

    def notes(self, scope: FileSection) -> list[str]:
        later = (
            super().rows(scope).filter(published_at__isnull=False, effective_from__gt=clock.now())
        )
        return [
            f"{row.subject} has another price from {row.effective_from.isoformat()}, which is left out."
            for row in later.order_by("book", "provider", "model", "effective_from")
        ]

    def warnings(self, values: Normal, row: Any) -> list[str]:
        return [] if price_setting.is_known(row) else ["Nothing with that name exists yet."]


def _columns(line: Line) -> dict[str, Any]:
    return {
        "token_class": line.token_class,
        "service_tier": line.service_tier,
        "above_tokens": line.above_tokens,
        "pico_per_token": line.pico_per_token,
    }


PRICES = register(PriceKind())
