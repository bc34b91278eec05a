"""Find the prices that hold now for whoever pays, by alias."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from routing.models import Alias, Target
from tenants.access.access import Access
from tenants.prices import book
from tenants.prices.history import History
from tenants.prices.rating import DEFAULT_TIER, Terms
from tenants.token_classes import TOKEN_CLASSES

# What a row of prices shows, in the order of its columns.
COLUMNS = ("input_fresh", "cache_read", "cache_write", "output_visible", "output_reasoning")
_PLACES = tuple(TOKEN_CLASSES.index(name) for name in COLUMNS)

ModelsBehind = Mapping[int, Sequence[tuple[str, str]]]  # by alias: provider and model
Kind = Literal["charge", "passed_on", "varies", "own", "fee", "none"]


@dataclass(frozen=True, slots=True)
class HeldPrice:
    """Tells what a tenant pays for an alias now.

    charge     the charge book's price
    passed_on  what the model that is tried first costs, because there is no charge
    varies     likewise, where the models behind the alias cost differently and are not shown
    own        nothing: it leads to providers of the tenant's own
    fee        the fee for calls to such providers
    none       there is no price
    """

    kind: Kind = "none"
    terms: Terms | None = None

    @property
    def picos(self) -> tuple[int, ...] | None:
        """Return the prices in the order of COLUMNS; None where there is none to show."""
        return None if self.terms is None else picos_of(self.terms)

    @property
    def input_pico(self) -> int | None:
        return None if self.picos is None else self.picos[0]

    @property
    def output_pico(self) -> int | None:
        return None if self.picos is None else self.picos[3]


def picos_of(terms: Terms) -> tuple[int, ...]:
    """Return the usual tier's prices of short requests, in the order of COLUMNS, stand-ins filled in."""
    step = terms.tiers[DEFAULT_TIER][-1]
    return tuple(step.picos[place] for place in _PLACES)


def has_further(terms: Terms) -> bool:
    """Tell whether there are prices beside those: other tiers, thresholds, or other units."""
    usual = terms.tiers[DEFAULT_TIER]
    return len(terms.tiers) > 1 or len(usual) > 1 or bool(usual[-1].rates)


def prices_of(
    who: Access,
    aliases: Sequence[Alias],
    tenant_id: int | None,
    at: datetime,
    known: ModelsBehind | None = None,
) -> dict[int, HeldPrice]:
    """Return the price of each alias for this tenant (None: for its owner), as far as they may see it.

    `known` are the models behind the aliases and those they link to, if somebody has read them already.
    """
    instant = at.timestamp()
    sources = {alias.pk: alias.platform_alias or alias for alias in aliases}
    payers = {alias.pk: tenant_id or alias.tenant_id or 0 for alias in aliases}
    names = {source.name for source in sources.values() if source.tenant_id is None}
    books = book.charge_books_of(set(payers.values()), {*names, book.OWN_PROVIDERS})
    behind = _models_behind(sources.values()) if known is None else known
    platforms = {source.pk for source in sources.values() if source.tenant_id is None}
    costs = book.costs(model for pk in platforms for model in behind.get(pk, ()))
    found = {}
    for alias in aliases:
        source, charges = sources[alias.pk], books[payers[alias.pk]]
        if source.tenant_id is not None:
            fee = charges[book.OWN_PROVIDERS].at(instant)
            found[alias.pk] = HeldPrice("own") if fee is None else HeldPrice("fee", fee)
            continue
        terms = charges[source.name].at(instant)
        if terms is not None:
            found[alias.pk] = HeldPrice("charge", terms)
        else:
            models = behind.get(source.pk, ())
            found[alias.pk] = _passed_on(who, [costs[model] for model in models], instant)
    return found


def _passed_on(who: Access, costs: Sequence[History], instant: float) -> HeldPrice:
    known = [cost.at(instant) for cost in costs]
    if not known or known[0] is None:
        return HeldPrice("none")
    # Prices that differ would tell how many models there are, and what they are.
    is_one = len({None if terms is None else picos_of(terms) for terms in known}) == 1
    if not who.sees_upstreams and not is_one:
        return HeldPrice("varies")
    return HeldPrice("passed_on", known[0])


def _models_behind(sources: Iterable[Alias]) -> ModelsBehind:
    """Return the platform's models behind each alias of the platform, as provider and model."""
    keys = {source.pk for source in sources if source.tenant_id is None}
    rows = Target.objects.filter(alias__in=keys, provider_model__provider__enabled=True).order_by(
        "alias", "position", "pk"
    )
    found: dict[int, list[tuple[str, str]]] = {}
    columns = ("alias", "provider_model__provider__name", "provider_model__upstream_id")
    for alias, provider, model in rows.values_list(*columns):
        found.setdefault(alias, []).append((provider, model))
    return found
