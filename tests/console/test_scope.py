"""A page reads what it shows from its address, and its links carry it on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import Http404
from django.test import RequestFactory

from tenants.console.scope import (
    MOST_OFFERED,
    Scope,
    asked_tenant,
    offered_tenants,
    read_scope,
)
from tenants.models import Membership, Tenant

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 28, 22, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway_project.lib.clock.now", lambda: NOW)


@pytest.fixture
def berlin() -> Tenant:
    return Tenant.objects.create(name="Berlin", slug="berlin", time_zone="Europe/Berlin")


def scope(user: User, query: str) -> Scope:
    request: Any = RequestFactory().get(f"/console/usage/{query}")
    request.user, request.session = user, {}
    return read_scope(request)


def operator() -> User:
    return User.objects.create_superuser("operator")


def test_days_are_those_of_the_tenants_zone(berlin: Tenant):
    asked = scope(operator(), "?tenant=berlin&from=2026-10-25&to=2026-10-25")

    # The day on which the clocks went back has 25 hours.
    assert (asked.start, asked.end) == (
        datetime(2026, 10, 24, 22, tzinfo=UTC),
        datetime(2026, 10, 25, 23, tzinfo=UTC),
    )
    month = scope(operator_of(berlin), "?period=last_month")
    assert (month.start, month.end) == (
        datetime(2026, 9, 30, 22, tzinfo=UTC),
        datetime(2026, 10, 31, 23, tzinfo=UTC),
    )


def operator_of(tenant: Tenant) -> User:
    user = User.objects.create_user("member")
    Membership.objects.create(tenant=tenant, user=user, role="viewer")
    return user


def test_whoever_has_one_tenant_looks_at_it(berlin: Tenant):
    asked = scope(operator_of(berlin), "")

    assert asked.tenant == berlin
    assert asked.zone.key == "Europe/Berlin"
    assert scope(operator(), "").tenant is None


def test_of_many_tenants_the_first_are_offered_and_whichever_is_asked_for(berlin: Tenant):
    """One more than are offered tells that there are more."""
    Tenant.objects.bulk_create(
        Tenant(name=f"{number}", slug=f"t{number:03}") for number in range(MOST_OFFERED + 9)
    )
    first = ["berlin", *(f"t{number:03}" for number in range(MOST_OFFERED))]
    root = operator()
    for asked, more in (("", []), ("berlin", []), ("t003", []), ("t055", ["t055"])):
        request: Any = RequestFactory().get(f"/console/usage/?tenant={asked}")
        request.user, request.session = root, {}
        assert [each.slug for each in offered_tenants(request)] == [*first, *more], asked
        assert getattr(asked_tenant(request), "slug", "") == asked


@pytest.mark.parametrize("slug", ["acme", "nowhere", "x" * 200])
def test_a_tenant_that_one_may_not_see_is_not_there(slug: str, berlin: Tenant):
    Tenant.objects.create(name="Acme", slug="acme")

    with pytest.raises(Http404):
        scope(operator_of(berlin), f"?tenant={slug}")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?period=yesterday", "There is no period “yesterday”"),
        ("?from=monday", "“from” and “to” are dates"),
        ("?from=2026-11-02&to=2026-11-01", "“from” must be before “to”"),
        ("?from=2020-01-01&to=2026-01-01", "at most 400 days"),
        ("?alias=a%00b", "“alias” was left out"),
        (f"?key={'k' * 301}", "“key” was left out"),
        ("?to=0001-01-01", "“from” and “to” are dates"),
        # Of UTC, which reports count in, this is in the year before.
        ("?from=2000-01-01T00:00%2B14:00&to=2000-01-01", "“from” and “to” are dates"),
    ],
)
def test_what_cannot_be_used_is_said_and_left_out(query: str, said: str):
    asked = scope(operator(), query)

    assert [said in problem for problem in asked.problems] == [True]
    assert asked.link() == "?"
    assert asked.end == NOW


def test_a_link_carries_the_view_with_changes():
    asked = scope(operator(), "?period=7d&alias=smart&by=key")

    assert asked.link(by=None, key="k1") == "?period=7d&alias=smart&key=k1"
    assert asked.link(from_="2026-11-01", by="") == "?alias=smart&from=2026-11-01"
    assert asked.filters == {"alias": "smart"}
