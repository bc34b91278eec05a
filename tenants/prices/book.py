"""Read the books of published prices as histories: what models cost us, and what aliases are charged at."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from functools import reduce
from operator import or_

from django.db.models import Q, QuerySet

from gateway_project.lib.prepared import PreparedQuery
from tenants.models import PriceLine, PriceVersion
from tenants.prices.history import FREE, History
from tenants.prices.rating import Line, Terms, terms

logger = logging.getLogger("tollgate.prices")

Subject = tuple[str, str]  # a provider and its model
# The charge book's name for calls to providers that tenants bring. It cannot be an alias's.
OWN_PROVIDERS = "*"
COST, CHARGE = PriceVersion.Book.COST, PriceVersion.Book.CHARGE


def cost(provider: str, model: str) -> History:
    """Return what this model of a provider costs us."""
    return costs([(provider, model)])[provider, model]


def costs(subjects: Iterable[Subject]) -> Mapping[Subject, History]:
    """Return the costs of several models, in one query."""
    wanted = sorted(set(subjects))
    if not wanted:
        return {}
    found: dict[Subject, list[PriceLine]] = {subject: [] for subject in wanted}
    for line in _COSTS.rows(*map(tuple, zip(*wanted, strict=True))):
        found[line.version.provider, line.version.model].append(line)
    return {subject: History(_versions(lines)) for subject, lines in found.items()}


def charge(tenant_id: int, alias: str, cost: History) -> History:
    """Return what the tenant is charged for an alias whose target costs us `cost`."""
    return charged(charge_book(tenant_id, alias), cost)


def charge_book(tenant_id: int, name: str) -> History:
    """Return the charge book's prices of a name, in one query."""
    return charge_books(tenant_id, {name})[name]


def charge_books(tenant_id: int, names: Collection[str]) -> Mapping[str, History]:
    """Return the charge book's prices of several names, in one query.

    The tenant's own versions win as a whole; the platform's count until the first of them takes effect.
    """
    return charge_books_of({tenant_id}, names)[tenant_id]


def charge_books_of(
    tenant_ids: Collection[int], names: Collection[str]
) -> Mapping[int, Mapping[str, History]]:
    """Return the same for several tenants, in one query."""
    lines = _CHARGES.rows(tuple(set(tenant_ids)), tuple(set(names)))
    found: dict[tuple[str, int | None], list[PriceLine]] = {}
    for line in lines:
        found.setdefault((line.version.model, line.version.tenant_id), []).append(line)
    everybodys = {name: History(_versions(found.get((name, None), ()))) for name in names}
    return {
        tenant_id: {
            name: before(History(_versions(found.get((name, tenant_id), ()))), everybodys[name])
            for name in names
        }
        for tenant_id in tenant_ids
    }


def first_of(books: Iterable[History]) -> History:
    """Combine histories: the first from its earliest version on, until then the second, and so on."""
    return reduce(before, books)


def charged(book: History, cost: History) -> History:
    """Return the charge: the charge book's where it has one, otherwise the call is passed on at cost."""
    return before(book, cost)


def charged_beside_own(book: History) -> History:
    """Return the charge if the tenant pays the provider itself: only what the charge book says."""
    return before(book, FREE)


def before(first: History, second: History) -> History:
    """Combine `first` from its earliest version on with `second` until then."""
    if not first.versions:
        return second
    begins = first.versions[-1].effective_from
    earlier = tuple(v for v in second.versions if v.effective_from < begins)
    return History(first.versions + earlier, is_free=second.is_free)


def version_terms(ids: Iterable[int]) -> dict[int, Terms]:
    """Return published versions by their ids, in one query, to rate stored calls again."""
    lines = PriceLine.objects.filter(version__in=set(ids), version__published_at__isnull=False)
    return {v.version: v for v in _versions(lines.select_related("version"))}


def _published(book: str) -> QuerySet[PriceLine]:
    return PriceLine.objects.filter(
        version__book=book, version__published_at__isnull=False
    ).select_related("version")


_COSTS = PreparedQuery(
    lambda providers, models: _published(COST).filter(
        reduce(
            or_,
            (
                Q(version__provider=provider, version__model=model)
                for provider, model in zip(providers, models, strict=True)
            ),
        )
    )
)
_CHARGES = PreparedQuery(
    lambda tenants, names: _published(CHARGE).filter(
        Q(version__tenant__in=tenants) | Q(version__tenant=None), version__model__in=names
    )
)


def _versions(lines: Iterable[PriceLine]) -> tuple[Terms, ...]:
    """Return the versions, latest first. One that cannot be rated by is logged and skipped."""
    by_version: dict[PriceVersion, list[Line]] = {}
    for line in lines:
        by_version.setdefault(line.version, []).append(line_of(line))
    made = [_terms(version, own) for version, own in by_version.items()]
    return tuple(sorted((t for t in made if t is not None), key=_by_effect, reverse=True))


def _by_effect(terms: Terms) -> tuple[float, int]:
    return terms.effective_from, terms.version


def _terms(version: PriceVersion, lines: list[Line]) -> Terms | None:
    try:
        return terms(version.pk, version.effective_from.timestamp(), lines)
    except ValueError as error:  # publishing checks this: the row was written past our code
        logger.error("price version %s cannot be used: %s", version.pk, error)
        return None


def line_of(row: PriceLine) -> Line:
    return Line(row.token_class, row.pico_per_token, row.service_tier, row.above_tokens)
