"""Months of a tenant's zone, and when they close."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.core.exceptions import ValidationError

from gateway_project.lib.actor import Actor, acting
from tenants.billing import instants, periods
from tenants.models import AuditEvent, BillingPeriod, Invoice, SpoolPosition, Tenant
from tests.plugins.cases import cases
from tests.support.usage_rows import usage

pytestmark = pytest.mark.django_db

OCTOBER = datetime(2026, 10, 15, 12, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)


def tenant(zone: str = "UTC", created_at: datetime = OCTOBER) -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme", time_zone=zone, created_at=created_at)


def spans() -> list[tuple[datetime, datetime, str]]:
    found = BillingPeriod.objects.order_by("starts_at")
    return list(found.values_list("starts_at", "ends_at", "time_zone"))


def spool(watermark: datetime, **fields: object) -> SpoolPosition:
    return SpoolPosition.objects.create(spool="a", host="h", watermark_at=watermark, **fields)


@pytest.mark.persistence
@cases(
    ("at", "hours"),
    [
        (datetime(2026, 3, 10, tzinfo=UTC), 31 * 24 - 1),
        (datetime(2026, 10, 10, tzinfo=UTC), 31 * 24 + 1),
        (datetime(2026, 2, 10, tzinfo=UTC), 28 * 24),
        (datetime(2028, 2, 10, tzinfo=UTC), 29 * 24),
    ],
)
def test_a_month_with_a_change_of_clocks_has_an_hour_less_or_more(at: datetime, hours: int):
    start, end = instants.month_of(at, "Europe/Berlin")
    assert end - start == timedelta(hours=hours)


def test_a_month_may_begin_with_a_change_of_clocks():
    # Paraguay's clocks went on at midnight of 1 October 2017: that midnight never was.
    start, _ = instants.month_of(datetime(2017, 10, 9, tzinfo=UTC), "America/Asuncion")
    _, end = instants.month_of(datetime(2017, 9, 9, tzinfo=UTC), "America/Asuncion")
    assert start == end


def test_the_last_instant_of_a_month_is_its_own():
    start, end = instants.month_of(datetime(2026, 10, 31, 22, 59, 59, tzinfo=UTC), "Europe/Berlin")
    assert start.isoformat() == "2026-09-30T22:00:00+00:00"
    assert end.isoformat() == "2026-10-31T23:00:00+00:00"
    assert instants.month_of(end, "Europe/Berlin")[0] == end


@pytest.mark.persistence
def test_periods_follow_one_another_from_the_first_use():
    acme = tenant("Europe/Berlin")
    usage(acme, datetime(2026, 8, 31, 22, 30, tzinfo=UTC))
    periods.ensure(acme, OCTOBER)
    assert [f"{start:%m-%dT%H}" for start, _, _ in spans()] == ["08-31T22", "09-30T22"]
    periods.ensure(acme, OCTOBER)
    assert len(spans()) == 2


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "Pacific/Kiritimati"])
def test_another_zone_counts_from_the_next_period_on(zone: str):
    acme = tenant()
    periods.ensure(acme, OCTOBER)
    acme.time_zone = zone
    acme.save()
    periods.ensure(acme, NOVEMBER + timedelta(days=9))
    (start, end, first_zone), (next_start, next_end, next_zone) = spans()
    assert (end, first_zone, next_zone) == (next_start, "UTC", zone)
    assert next_end == instants.month_of(NOVEMBER + timedelta(days=15), zone)[1]
    assert start < end < next_end


def test_a_month_begins_once_however_often_the_zone_changes():
    """Nothing is reset when it begins: it only says which invoice a call is on. So it stays a calendar month,
    shorter or longer by what the two zones differ."""
    acme = tenant("Pacific/Kiritimati")
    at = OCTOBER
    for zone in ("Etc/GMT+12", "UTC", "Pacific/Kiritimati", "Etc/GMT+12", "Asia/Tokyo") * 20:
        periods.ensure(acme, at)
        acme.time_zone = zone
        acme.save()
        at += timedelta(days=7)
    found = spans()
    months = (at.year - OCTOBER.year) * 12 + at.month - OCTOBER.month
    assert len(found) <= months + 1
    assert all(end - start >= timedelta(days=28, hours=-26) for start, end, _ in found)
    assert all(end == start for (_, end, _), (start, _, _) in pairwise(found))


@pytest.mark.persistence
def test_a_period_closes_when_every_spool_is_read_past_its_end():
    acme = tenant()
    usage(acme, OCTOBER, charges={"input_fresh": 20_000_000})
    position = spool(NOVEMBER - timedelta(seconds=1))
    assert periods.advance(acme, NOVEMBER) == []
    assert [p.state for p in BillingPeriod.objects.order_by("starts_at")] == ["closing", "open"]

    position.watermark_at = NOVEMBER
    position.save()
    assert len(periods.advance(acme, NOVEMBER)) == 1

    closed = BillingPeriod.objects.get(state="draft")
    assert (closed.was_complete, closed.closed_at) == (True, NOVEMBER)
    assert Invoice.objects.get().subtotal_cents == 2
    assert periods.advance(acme, NOVEMBER) == []


@pytest.mark.persistence
def test_a_spool_that_is_done_holds_nothing_up():
    acme = tenant()
    usage(acme, OCTOBER)
    spool(OCTOBER, is_done=True)
    assert len(periods.advance(acme, NOVEMBER)) == 1


@pytest.mark.persistence
def test_after_the_grace_a_period_closes_all_the_same():
    acme = tenant()
    usage(acme, OCTOBER)
    spool(OCTOBER)
    assert periods.advance(acme, NOVEMBER + timedelta(hours=24, seconds=-1)) == []
    assert len(periods.advance(acme, NOVEMBER + timedelta(hours=24))) == 1
    assert BillingPeriod.objects.get(state="draft").was_complete is False


@pytest.mark.persistence
def test_a_period_without_charges_is_finalized_without_an_invoice():
    acme = tenant()
    usage(acme, OCTOBER, charges={}, charge_version=None)
    periods.advance(acme, NOVEMBER)
    assert BillingPeriod.objects.filter(state="finalized").count() == 1
    assert not Invoice.objects.exists()


def test_a_period_cannot_be_closed_before_it_is_over_or_complete():
    acme = tenant()
    usage(acme, OCTOBER)
    periods.ensure(acme, OCTOBER)
    period = BillingPeriod.objects.get()
    with pytest.raises(ValidationError, match="It ends at"):
        periods.close(period, now=OCTOBER)
    spool(OCTOBER)
    with pytest.raises(ValidationError, match="ingester"):
        periods.close(period, now=NOVEMBER)
    assert periods.close(period, now=NOVEMBER, force=True).state == "draft"


@pytest.mark.persistence
def test_that_a_month_was_closed_is_in_the_audit_log_once():
    acme = tenant()
    usage(acme, OCTOBER)
    periods.ensure(acme, OCTOBER)
    period = BillingPeriod.objects.get()
    with acting(Actor("person", "7", "ada")):
        spool(OCTOBER)
        periods.close(period, now=NOVEMBER, force=True)
        periods.close(period, now=NOVEMBER, force=True)
    event = AuditEvent.objects.get(action="billing_period.closed")
    assert (event.tenant_id, event.actor_name, event.object_id) == (acme.pk, "ada", str(period.pk))
    assert event.object_name == f"{acme} 2026-10"
    assert json.loads(event.details) == {"was_complete": False, "forced": True}

    other = Tenant.objects.create(slug="other", name="Other", created_at=OCTOBER)
    usage(other, OCTOBER)
    periods.advance(other, NOVEMBER + timedelta(days=2))
    event = AuditEvent.objects.get(action="billing_period.closed", tenant_id=other.pk)
    assert event.actor_kind == "system"
    assert json.loads(event.details) == {"was_complete": False, "forced": False}
