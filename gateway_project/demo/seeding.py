"""Fill an installation with the demo, if it has no data of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from django.conf import settings
from django.core.exceptions import ValidationError

from gateway_project.demo import accounts, books, stored
from gateway_project.demo.catalogue import TENANTS
from gateway_project.demo.traffic import DAYS, DemoTraffic
from gateway_project.lib import clock
from gateway_project.lib.progress import SILENT, ProgressLine
from tenants.models import ApiKey, Tenant, UsageRow

LEAST, MOST = 100, 20_000_000
MANY = 50_000  # from so many requests on there are all tenants and keys
FEW_TENANTS, FEW_KEYS, MANY_KEYS = 6, 24, 256


@dataclass(frozen=True, slots=True)
class Seeded:
    """Tell how much was made, and how long the ledger's rows took, with their sums."""

    tenants: int
    keys: int
    requests: int
    rows: int
    budgets: int
    invoices: int
    responses: int
    seconds: float


def seed(
    requests: int, number: int, *, beside_data: bool = False, progress: ProgressLine = SILENT
) -> Seeded:
    """Make the demo of so many requests up to now. The same number makes the same traffic.

    Raise ValidationError where there is data already: everything made up would be mixed with it.
    """
    if not LEAST <= requests <= MOST:
        raise ValidationError({"requests": f"Choose a number from {LEAST:,} to {MOST:,}."})
    is_many = requests >= MANY
    count = len(TENANTS) if is_many else FEW_TENANTS
    _refuse_data(count, beside_data=beside_data)
    begun, random = time.monotonic(), Random(number)  # noqa: S311  # made-up traffic
    now = clock.now()
    end = now.replace(second=0, microsecond=0)
    start = end - timedelta(days=DAYS)
    tenants = accounts.make_tenants(count, start - timedelta(days=1))
    keys = accounts.make_keys(random, tenants, MANY_KEYS if is_many else FEW_KEYS, now)
    aliases = accounts.make_models(f"http://127.0.0.1:{settings.SANDBOX_PORT}/v1", now)
    traffic = DemoTraffic(number, end, keys, aliases).rows(requests)
    rows = books.write_rows(progress.over(traffic, "rows"))
    books.sum_up(start, now + timedelta(days=1))
    plain = [key for key, _ in keys]
    return Seeded(
        tenants=len(tenants),
        keys=len(keys),
        requests=requests,
        rows=rows,
        budgets=books.make_budgets(tenants, plain, now),
        invoices=books.bill(random, tenants, now),
        responses=_stored(random, tenants, plain),
        seconds=round(time.monotonic() - begun, 1),
    )


def _stored(random: Random, tenants: list[Tenant], keys: list[ApiKey]) -> int:
    now = clock.now()
    stored.make_webhooks(tenants[:2], now)
    return stored.make_responses(random, keys[:4], now)


def _refuse_data(count: int, *, beside_data: bool) -> None:
    if not beside_data and UsageRow.objects.exists():
        message = (
            "This installation has usage already, and made-up calls cannot be taken out of a ledger. Use an "
            "installation of its own (TOLLGATE_DATA_DIR, DATABASE_URL), or say --beside-data."
        )
        raise ValidationError(message)
    slugs = [tenant.slug for tenant in TENANTS[:count]]
    if taken := Tenant.objects.filter(slug__in=slugs).values_list("slug", flat=True).first():
        raise ValidationError(f"There is a tenant {taken!r} already, which the demo would make.")
