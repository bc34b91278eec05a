"""The table of rights is the documented one, and roles are compared by what they give."""

from __future__ import annotations

from tenants.access.access import Access
from tenants.access.rights import (
    AUDITOR,
    EVERYTHING,
    ROLES,
    TENANT_MOST,
    TENANT_NAMES,
    Area,
    name_of,
    permissions_of,
)
from tests.console.rights_table import documented


def test_the_documented_table_is_the_one_that_counts():
    roles = {**ROLES, "auditor": AUDITOR}
    assert {
        role: {f"{area}.{right}" for area, rights in areas.items() for right in rights}
        for role, areas in documented().items()
    } == {role: {name_of(each) for each in given} for role, given in roles.items()}
    assert set(documented()["owner"]) == {str(area) for area in Area}


def test_a_role_of_a_tenant_never_gives_what_tenants_cannot_have():
    """Store what was written before this version, or past every check: it gives no more than it may."""
    stored = ["keys.view", "tenant.delete", "prices.change", "audit.delete", "nothing.view", "x"]
    given = permissions_of("", stored)
    assert {name_of(each) for each in given} == {"keys.view", "tenant.view"}
    everything = permissions_of("", [name_of(each) for each in EVERYTHING])
    assert everything == TENANT_MOST == ROLES["owner"]
    assert len(TENANT_NAMES) == len(TENANT_MOST)


def test_roles_are_compared_by_permissions_and_only_where_they_are_held():
    who = Access(grants={1: permissions_of("billing"), 2: permissions_of("owner")})
    assert not who.may_grant(permissions_of("viewer"), 1)  # which reads what was said
    assert who.may_grant(permissions_of("", ["limits.view", "limits.change"]), 1)
    assert who.may_grant(permissions_of("viewer"), 2)
    assert not who.may_grant(permissions_of("viewer"), 3)
