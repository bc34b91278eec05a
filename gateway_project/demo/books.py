"""Fill the demo's ledger, and what is made of it: sums, budgets, invoices, credit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random

from django.db import transaction

from gateway_project.demo.traffic import Row
from gateway_project.lib import clock
from tenants.billing import credits as prepaid
from tenants.billing import invoices, periods, rollups, sums
from tenants.budgets import windows, zones
from tenants.budgets.terms import BudgetTerms
from tenants.ledger import columns
from tenants.models import ApiKey, Budget, BudgetWindow, Invoice, Tenant

Rows = Iterator[Row]
BATCH = 5_000
NANO = 10**9
_CENT_NANO = NANO // 100
_COMMON = {
    "tags": {},
    "requested_model": "",
    "service_tier": "default",
    "guardrail_outcome": "",
    "cache_outcome": "",
    "saved_nano": 0,
    "background": False,
    "websocket": False,
    "usage_anomaly": False,
    "units": None,
    "held_nano": None,
    "unfunded_nano": 0,
    "list_version": None,
    "list_nano": 0,
    "corrects": None,
    "reason": "",
    "actor": "",
    "spool": "",
}
# How full budgets are, in per cent of their amount; the last warns only and is exceeded.
_FILLED = (93, 41, 84, 12, 67, 118)


def write_rows(rows: Rows) -> int:
    """Write the ledger's rows, a batch a transaction, and return how many there are."""
    common = {**_COMMON, "recorded_at": clock.now()}
    count = 0
    while batch := list(islice(rows, BATCH)):
        with transaction.atomic():
            columns.insert(batch, common)
        count += len(batch)
    return count


def sum_up(start: datetime, end: datetime) -> None:
    """Compute all sums of the span."""
    rollups.rebuild(start, end)


def make_budgets(tenants: Sequence[Tenant], keys: Iterable[ApiKey], now: datetime) -> int:
    """Give tenants and some keys budgets, which are filled by what was charged in their period."""
    made = 0
    for place, tenant in enumerate(tenants):
        filled = _FILLED[place % len(_FILLED)]
        made += _budget(tenant, None, Budget.Period.MONTHLY, filled, now)
    for place, key in enumerate(islice(keys, 12)):
        made += _budget(key.tenant, key, Budget.Period.WEEKLY, _FILLED[-1 - place % 6], now)
    return made


def _budget(tenant: Tenant, key: ApiKey | None, period: str, filled: int, now: datetime) -> bool:
    is_exceeded = filled > 100
    row = Budget(
        tenant=tenant,
        api_key=key,
        name=f"{key.name} a week" if key else "Monthly limit",
        amount_nano=NANO,
        period=period,
        mode=Budget.Mode.WARN if is_exceeded else Budget.Mode.HARD,
    )
    window = _window(row, tenant, now)
    starts_at = datetime.fromtimestamp(window.starts_at, UTC)
    found = sums.totals(tenant.pk, starts_at, now, "key")
    wanted = [one for one in found if key is None or one.group == key.public_id]
    spent = sum(one["charge_nano"] for one in wanted)
    if not spent:
        return False
    row.amount_nano = max(_CENT_NANO, spent * 100 // filled // _CENT_NANO * _CENT_NANO)
    row.save()
    ends_at = None if window.ends_at is None else datetime.fromtimestamp(window.ends_at, UTC)
    BudgetWindow.objects.create(budget=row, starts_at=starts_at, ends_at=ends_at, spent_nano=spent)
    return True


def _window(row: Budget, tenant: Tenant, now: datetime) -> windows.Window:
    switches = zones.switches(tenant.zone_switches, row.period)
    terms = BudgetTerms(0, row.period, switches, is_hard=True)
    return windows.window(terms, now.timestamp())


def bill(random: Random, tenants: Sequence[Tenant], now: datetime) -> int:
    """Close the months that are over; issue all invoices but the last. Return how many there are."""
    for place, tenant in enumerate(tenants):
        if place % 3 == 0:
            amount = random.randrange(50, 500) * 100
            expires_at = now + timedelta(days=200)
            prepaid.grant(tenant.pk, amount, f"demo {tenant.slug}", expires_at=expires_at)
        periods.advance(tenant, now)
        own = Invoice.objects.filter(tenant=tenant).order_by("period__starts_at")
        for invoice in list(own)[:-1]:
            invoices.finalize(invoice.pk, "seed_demo")
    return Invoice.objects.filter(tenant__in=[tenant.pk for tenant in tenants]).count()
