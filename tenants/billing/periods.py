"""Manage billing periods: months of a tenant's zone, as instants, and how they come to be billed.

    open ── it is over ──▶ closing ── the ledger is complete, or the grace is over ──▶ draft ──▶ finalized

The ledger is complete when every active spool has been read past the end of the period. A period in which
nothing was charged is finalized without an invoice.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Min

from gateway_project.lib import clock
from gateway_project.lib.db import durable_transaction
from tenants.audit import events
from tenants.billing import credits as prepaid
from tenants.billing import invoices
from tenants.billing.instants import month_of, parsed_month
from tenants.models import BillingPeriod, SpoolPosition, Tenant, UsageRow

State = BillingPeriod.State
# Into the middle of the month that comes next, whichever zone it is that counts from then on.
_HALF_A_MONTH = timedelta(days=15)


def advance_all(now: datetime | None = None) -> int:
    """Make and advance every tenant's periods; return how many became drafts or were finalized."""
    now = now or clock.now()
    return sum(len(advance(tenant, now)) for tenant in Tenant.objects.order_by("pk"))


def advance(tenant: Tenant, now: datetime | None = None) -> list[BillingPeriod]:
    """Advance a tenant's periods and return those closed by this. Safe to run twice, or concurrently."""
    now = now or clock.now()
    ensure(tenant, now)
    due = BillingPeriod.objects.filter(tenant=tenant, ends_at__lte=now)
    due.filter(state=State.OPEN).update(state=State.CLOSING)
    closing = due.filter(state=State.CLOSING).order_by("starts_at")
    return [period for period in closing if _close(period, now)]


def ensure(tenant: Tenant, now: datetime) -> None:
    """Make the missing periods, up to the running one.

    A changed zone counts from the next period on, which begins where the last one ends and ends with a
    calendar month of that zone. Unlike a budget's (tenants/budgets/zones.py) it resets nothing, so it may
    be shorter by what the two zones differ instead of two months long.
    """
    while True:
        last = BillingPeriod.objects.filter(tenant=tenant).order_by("-starts_at").first()
        if last is not None and last.ends_at > now:
            return
        if last is None:
            starts_at, ends_at = month_of(_first_instant(tenant, now), tenant.time_zone)
        else:
            starts_at = last.ends_at
            _, ends_at = month_of(starts_at + _HALF_A_MONTH, tenant.time_zone)
        BillingPeriod.objects.get_or_create(
            tenant=tenant,
            starts_at=starts_at,
            defaults={"ends_at": ends_at, "time_zone": tenant.time_zone},
        )


def close(
    period: BillingPeriod, *, force: bool = False, now: datetime | None = None
) -> BillingPeriod:
    """Close one period that is over. Raise ValidationError while usage may still arrive, unless forced."""
    now = now or clock.now()
    if period.ends_at > now:
        raise ValidationError(
            {"month": f"It ends at {period.ends_at:%Y-%m-%dT%H:%MZ}, and cannot be closed before."}
        )
    BillingPeriod.objects.filter(pk=period.pk, state=State.OPEN).update(state=State.CLOSING)
    if not _close(period, now, force=force) and _state(period) == State.CLOSING:
        raise ValidationError(
            {
                "month": "Not all spools have been read past its end; wait for the ingester, or use --force."
            }
        )
    period.refresh_from_db()
    return period


def of_month(tenant: Tenant, text: str) -> BillingPeriod:
    """Return the period that most of a month is in. Raise ValidationError if the tenant has none."""
    start, _ = parsed_month(text, tenant.time_zone)
    ensure(tenant, clock.now())
    middle = start + _HALF_A_MONTH
    found = BillingPeriod.objects.filter(
        tenant=tenant, starts_at__lte=middle, ends_at__gt=middle
    ).first()
    if found is None:
        raise ValidationError({"month": f"{tenant.slug!r} has no billing period for {text!r}."})
    return found


def is_complete(ends_at: datetime) -> bool:
    """Tell whether every call opened before that instant has its row."""
    return not SpoolPosition.objects.filter(is_done=False, watermark_at__lt=ends_at).exists()


def grace_is_over(period: BillingPeriod, now: datetime) -> bool:
    grace: timedelta = settings.BILLING_GRACE
    return now >= period.ends_at + grace


def _close(period: BillingPeriod, now: datetime, *, force: bool = False) -> bool:
    complete = is_complete(period.ends_at)
    is_due = complete or grace_is_over(period, now)
    if not (is_due or force):
        return False
    with durable_transaction():
        prepaid.lock(period.tenant_id)
        moved = BillingPeriod.objects.filter(pk=period.pk, state=State.CLOSING).update(
            state=State.DRAFT, closed_at=now, was_complete=complete
        )
        if moved:
            invoices.draft(period)
            _record_closing(period, complete=complete, forced=not is_due)
    return bool(moved)


def _record_closing(period: BillingPeriod, *, complete: bool, forced: bool) -> None:
    """Record who closed a month, and whether usage might still have arrived."""
    events.record(
        "billing_period.closed",
        tenant_id=period.tenant_id,
        object_type="billing_period",
        object_id=period.pk,
        object_name=period,
        details={"was_complete": complete, "forced": forced},
    )


def _state(period: BillingPeriod) -> str:
    return BillingPeriod.objects.values_list("state", flat=True).get(pk=period.pk)


def _first_instant(tenant: Tenant, now: datetime) -> datetime:
    first = UsageRow.objects.filter(tenant=tenant).aggregate(Min("opened_at"))["opened_at__min"]
    return min(instant for instant in (first, tenant.created_at, now) if instant is not None)
