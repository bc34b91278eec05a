"""The budgets that bind a caller, as frozen values read with the caller."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from django.db.models import Q
from msgspec import Struct

from tenants.models import ApiKey, Budget


class BudgetTerms(Struct, frozen=True):
    """`period`: daily | weekly | monthly | total, in `zone`. `is_hard`: refuses what it does not pay for."""

    id: int
    period: str
    zone: ZoneInfo
    is_hard: bool
    name: str = ""


def of_key(key: ApiKey) -> tuple[BudgetTerms, ...]:
    """Those of the key and of its tenant, in the order in which they are locked."""
    rows = Budget.objects.filter(
        Q(api_key=None) | Q(api_key=key), tenant=key.tenant_id, enabled=True
    ).order_by("pk")
    zone = ZoneInfo(key.tenant.time_zone)
    return tuple(
        BudgetTerms(row.pk, row.period, zone, row.mode == Budget.Mode.HARD, row.name)
        for row in rows
    )
