"""Questions to the log: pages by the last id or number seen, filters, and dates that no id reaches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from gateway_project.lib import clock
from gateway_project.lib.actor import Actor, acting
from tenants.audit import chain, events
from tenants.models import AuditEvent, Tenant
from tenants.reports import audit as reports
from tenants.reports.audit import AuditFilter

pytestmark = pytest.mark.django_db

EVERYTHING = AuditFilter()


@pytest.fixture
def tenants() -> list[Tenant]:
    """Two tenants and the platform, with five events each; four of them an export."""
    made = [Tenant.objects.create(slug=slug, name=slug.title()) for slug in ("acme", "other")]
    with transaction.atomic():
        for number in range(4):
            for tenant_id in (made[0].pk, made[1].pk, None):
                with acting(Actor("person", str(number), f"person-{number % 2}")):
                    events.record("usage.exported", tenant_id=tenant_id, object_id=number)
    chain.join_pending()
    return made


def test_pages_follow_each_other_without_a_gap_newest_first(tenants: list[Tenant]):
    for scope, count in (([tenants[0].pk], 5), ([t.pk for t in tenants], 10), (None, 14)):
        seen: list[AuditEvent] = []
        while page := reports.newest(
            scope, EVERYTHING, before=seen[-1].pk if seen else None, limit=3
        ):
            seen += page
        assert len({event.pk for event in seen}) == len(seen) == count
        assert seen == sorted(seen, key=lambda event: event.pk, reverse=True)
        assert scope is None or {event.tenant_id for event in seen} == set(scope)


def test_a_chain_is_read_on_from_a_number(tenants: list[Tenant]):
    first = reports.following(tenants[0].pk, 0, limit=2)
    rest = reports.following(tenants[0].pk, 2)
    assert [event.sequence for event in [*first, *rest]] == [1, 2, 3, 4, 5]
    assert reports.following(tenants[0].pk, 5) == []


def test_filters_are_exact_and_hold_together(tenants: list[Tenant]):
    mine, now = [tenants[0].pk], clock.now()
    cases = [
        (AuditFilter(action="usage.exported"), 4),
        (AuditFilter(actor="person-1"), 2),
        (AuditFilter(actor="person-1", object_id="3"), 1),
        (AuditFilter(object_type="tenant"), 1),
        (AuditFilter(action="tenant.created", actor="person-1"), 0),
        (AuditFilter(start=now - timedelta(hours=1), end=now + timedelta(hours=1)), 5),
        (AuditFilter(end=now - timedelta(hours=1)), 0),
        (AuditFilter(start=datetime(1, 1, 1, tzinfo=UTC)), 5),
        (AuditFilter(start=datetime(9999, 1, 1, tzinfo=UTC)), 0),
    ]
    for wanted, count in cases:
        assert len(reports.newest(mine, wanted)) == count, wanted
    assert reports.newest([], EVERYTHING) == []
