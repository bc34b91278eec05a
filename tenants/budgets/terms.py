"""The budgets that bind a caller, as frozen values read with the caller."""

from __future__ import annotations

from django.db.models import Q
from msgspec import Struct

from gateway_project.lib.prepared import PreparedQuery
from tenants.budgets import zones
from tenants.budgets.zones import Switch
from tenants.models import ApiKey, Budget

_BUDGETS = PreparedQuery(
    lambda tenant, key: Budget.objects.filter(
        Q(api_key=None) | Q(api_key=key), tenant=tenant, enabled=True
    ).order_by("pk")
)


class BudgetTerms(Struct, frozen=True):
    """A budget's terms.

    `period`: daily | weekly | monthly | total, in the zone that `switches` name. `is_hard`: it refuses
    what it cannot pay for. `counts_list_price`: a call with the tenant's own credential counts at its
    provider's list price, instead of at the charge.
    """

    id: int
    period: str
    switches: tuple[Switch, ...]
    is_hard: bool
    name: str = ""
    counts_list_price: bool = False


def of_key(key: ApiKey) -> tuple[BudgetTerms, ...]:
    """Return the budgets of the key and of its tenant, in the order in which they are locked."""
    kept = key.tenant.zone_switches or zones.unchanged(key.tenant.time_zone)
    return tuple(
        BudgetTerms(
            row.pk,
            row.period,
            zones.switches(kept, row.period),
            row.mode == Budget.Mode.HARD,
            row.name,
            row.counts_list_price,
        )
        for row in _BUDGETS.rows(key.tenant_id, key.pk)
    )
