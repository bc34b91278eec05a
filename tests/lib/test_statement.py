"""A query that is compiled once finds what the query itself finds, and hears of what has changed since."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Exists, F, OuterRef, QuerySet
from django.test.utils import CaptureQueriesContext

from gateway_project.lib.statement import Statement
from tenants.models import CustomRole, Membership, Tenant

pytestmark = [pytest.mark.django_db, pytest.mark.persistence]
EXAMPLE = -(2**31)


def memberships(user: int) -> QuerySet[Any]:
    rows = Membership.objects.filter(user=user).select_related("tenant", "custom_role")
    is_operator = Exists(User.objects.filter(pk=OuterRef("user"), is_superuser=True))
    return rows.order_by("pk").annotate(is_operators=is_operator, slug=F("tenant__slug"))


def shown(rows: Any) -> list[Any]:
    """Return all that the rows hold, joined rows too, without asking the database."""
    with CaptureQueriesContext(connection) as queries:
        held = [
            {
                name: value
                for row in (found, found.tenant, found.custom_role)
                if row is not None
                for name, value in vars(row).items()
                if name != "_state"
            }
            for found in rows
        ]
    assert len(queries) == 0
    return held


def test_a_compiled_query_finds_what_the_query_finds_with_what_it_joins() -> None:
    ada, bob, nobody = (User.objects.create_user(name) for name in ("ada", "bob", "nobody"))
    for number in range(3):
        tenant = Tenant.objects.create(slug=f"t{number}", name=f"Tenant {number}")
        role = CustomRole.objects.create(tenant=tenant, name="r", permissions=["keys.view"])
        own = {"role": "", "custom_role": role} if number else {"role": "owner"}
        Membership.objects.create(tenant=tenant, user=ada, **own)
    statement: Statement[Any] = Statement(memberships, EXAMPLE)

    for user in (ada, bob, nobody, ada):
        assert shown(statement.rows(user.pk)) == shown(list(memberships(user.pk)))
    assert [row.custom_role is None for row in statement.rows(ada.pk)] == [True, False, False]

    Tenant.objects.filter(slug="t1").update(name="New", status=Tenant.Status.SUSPENDED)
    Membership.objects.filter(tenant__slug="t2").update(user=bob)
    with CaptureQueriesContext(connection) as queries:
        assert [row.tenant.name for row in statement.rows(ada.pk)] == ["Tenant 0", "New"]
        assert [row.slug for row in statement.rows(bob.pk)] == ["t2"]
    assert len(queries) == 2
