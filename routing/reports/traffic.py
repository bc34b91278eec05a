"""Add up from the hourly and daily sums what went by providers, their models and aliases.

Sums name providers and aliases by name alone, and a tenant may give a provider or an alias of its own the
name of one of the platform's: its rows are told apart by what the tenant owns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Sum, When

from routing.models import Alias, Provider
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.billing.instants import floor_hour
from tenants.models import UsageHour

HOURS_OF_HEALTH = 2  # the hour that runs, and the one before
HOURS_OF_A_DAY = 24
Owned = tuple[int | None, str]  # an owner (None: the platform), and a name of theirs


@dataclass(frozen=True, slots=True)
class CallCounts:
    """Upstream calls, and those of them that failed."""

    calls: int = 0
    failed: int = 0

    @property
    def success_percent(self) -> float | None:
        """Return the share of answered calls; None where there was none."""
        return None if not self.calls else 100 * (self.calls - self.failed) / self.calls


NONE = CallCounts()


def of_providers(who: Access, now: datetime) -> Mapping[Owned, CallCounts]:
    """Return the calls of this hour and the last by provider, those that the person may see."""
    return _by(who, now, "provider")


def of_models(who: Access, now: datetime) -> Mapping[tuple[int | None, str, str], CallCounts]:
    """Return the same by provider and model."""
    return _by(who, now, "provider", "upstream_model")


def _by(who: Access, now: datetime, *columns: str) -> dict[Any, CallCounts]:
    rows = seen_hours(who, now, HOURS_OF_HEALTH).annotate(owner=_owner(_owns_provider()))
    summed = rows.values_list("owner", *columns).annotate(Sum("calls"), Sum("failed"))
    return {tuple(key): CallCounts(calls, failed) for *key, calls, failed in summed}


def requests_of(who: Access, aliases: Iterable[Alias], now: datetime) -> dict[int, int]:
    """Return the requests of 24 hours by alias.

    A link has none of its own: its requests are counted under the alias of the platform it leads to.
    """
    counted = [alias for alias in aliases if alias.platform_alias_id is None]
    rows = seen_hours(who, now, HOURS_OF_A_DAY).filter(alias__in={each.name for each in counted})
    owned = rows.annotate(owner=_owner(_owns_alias())).values_list("owner", "alias")
    found = {(owner, name): n for owner, name, n in owned.annotate(Sum("requests"))}
    return {alias.pk: found.get((alias.tenant_id, alias.name), 0) for alias in counted}


def seen_hours(who: Access, now: datetime, hours: int) -> QuerySet[UsageHour]:
    """Return the sums of so many clock hours, the one that runs included, that the person may see."""
    since = floor_hour(now) - timedelta(hours=hours - 1)
    rows = UsageHour.objects.order_by().filter(starts_at__gte=since)
    if (Area.USAGE, "view") in who.platform:
        return rows
    return rows.filter(tenant__in=who.tenants_where("view", Area.USAGE))


def of_platforms_providers(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return the sums of calls to providers of the platform."""
    return rows.filter(~_owns_provider())


def of_own_providers(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return the sums of calls to providers of the tenant that made them."""
    return rows.filter(_owns_provider())


def of_platforms_aliases(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return the sums of requests to aliases of the platform."""
    return rows.filter(~_owns_alias())


def _owner(is_own: Exists) -> Case:
    """Return the tenant of a sum if what it is of is the tenant's own; the platform has none."""
    return Case(When(is_own, then=F("tenant_id")), default=None)


def _owns_provider() -> Exists:
    named = Q(tenant=OuterRef("tenant_id"), name=OuterRef("provider"))
    return Exists(Provider.objects.filter(named))


def _owns_alias() -> Exists:
    named = Q(tenant=OuterRef("tenant_id"), name=OuterRef("alias"), platform_alias=None)
    return Exists(Alias.objects.filter(named))
