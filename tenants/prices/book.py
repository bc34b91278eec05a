"""The published prices, as they are read from the database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from django.db.models import Q, QuerySet

from tenants.models import PriceLine, PriceVersion
from tenants.prices.history import History
from tenants.prices.rating import Line, Terms, terms

Subject = tuple[str, str]


def costs(subjects: Collection[Subject]) -> Mapping[Subject, History]:
    """What each of these provider models (provider, model) costs us; those without a price are left out."""
    wanted = Q()
    for provider, model in subjects:
        wanted |= Q(provider=provider, model=model)
    if not subjects:
        return {}
    rows = _published().filter(wanted, book=PriceVersion.Book.COST)
    return _histories((row.provider, row.model, row) for row in rows)


def charge(tenant_id: int, alias: str) -> History | None:
    """What the tenant is charged for the alias: by its own prices, else by everybody's; None without any."""
    rows = list(
        _published().filter(
            Q(tenant=tenant_id) | Q(tenant=None), book=PriceVersion.Book.CHARGE, model=alias
        )
    )
    own = [row for row in rows if row.tenant_id is not None] or rows
    return _histories(("", alias, row) for row in own).get(("", alias))


def of_target(cost: History, charged: History | None, *, is_own: bool) -> tuple[History, History]:
    """Cost and charge at a target. What a tenant pays its provider itself costs us nothing, and it is charged
    only what the alias has a price for; otherwise the cost is passed on where the alias has none."""
    cost = History(is_free=True) if is_own else cost
    return cost, charged if charged is not None else cost


def terms_of(version: int) -> Terms | None:
    """Those of one published version, which never change; None if there is no such version."""
    row = _published().filter(pk=version).first()
    return None if row is None else _terms(row)


def _published() -> QuerySet[PriceVersion]:
    versions = PriceVersion.objects.filter(published_at__isnull=False)
    return versions.prefetch_related("lines").order_by("-effective_from")


def _histories(rows: Iterable[tuple[str, str, PriceVersion]]) -> dict[Subject, History]:
    by_subject: dict[Subject, list[Terms]] = defaultdict(list)
    for provider, model, row in rows:
        by_subject[provider, model].append(_terms(row))
    return {subject: History(tuple(versions)) for subject, versions in by_subject.items()}


def _terms(version: PriceVersion) -> Terms:
    lines = [_line(line) for line in version.lines.all()]
    return terms(version.pk, version.effective_from.timestamp(), lines)


def _line(row: PriceLine) -> Line:
    return Line(row.token_class, row.pico_per_token, row.service_tier, row.above_tokens)
