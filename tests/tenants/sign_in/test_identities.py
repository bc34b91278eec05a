"""An identity provider's claims give people a role in its tenant, and follow what is settled there."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import User

from gateway_project import doctor
from gateway_project.lib import clock
from tenants.access.access import OPERATOR, Access, access_as
from tenants.deletion import asking
from tenants.members import roles
from tenants.models import AuditEvent, ExternalIdentity, IdentityProvider, Membership, Tenant
from tenants.reports.overview import overview
from tenants.reports.owners import kept_owners
from tenants.reports.usage_series import SeriesQuestion
from tenants.sign_in import identities
from tenants.sign_in.oidc import IdentityRefused

pytestmark = [pytest.mark.django_db, pytest.mark.persistence]


@pytest.fixture
def provider() -> IdentityProvider:
    return IdentityProvider.objects.create(
        tenant=Tenant.objects.create(slug="acme", name="Acme"),
        name="Acme",
        issuer="https://login.example",
        client_id="console",
        creates_members=True,
        group_claim="groups",
        group_roles={"bosses": "owner", "engineers": "developer"},
        maximum_role="owner",
    )


def enter(provider: IdentityProvider, subject: str, *groups: str) -> Membership:
    user = identities.enter(provider, {"sub": subject, "groups": list(groups)})
    return Membership.objects.get(user=user, tenant=provider.tenant)


def test_a_group_takes_the_place_of_one_of_the_tenants_own_roles(provider: IdentityProvider):
    member = enter(provider, "linus", "engineers")
    assert provider.tenant is not None
    desk = roles.create_role(OPERATOR, provider.tenant, "desk", ["keys.view"])
    Membership.objects.filter(pk=member.pk).update(role="", custom_role=desk)

    member = enter(provider, "linus", "engineers")

    assert (member.role, member.custom_role) == ("developer", None)


def needing(who: Access) -> list[tuple[str, str]]:
    """Return what the overview says needs somebody."""
    asked = SeriesQuestion(None, clock.now() - timedelta(days=1), clock.now())
    found = overview(who, asked, clock.now()).attention
    return [(each.kind, each.object_id) for each in found]


def test_the_last_owner_stays_owner_whatever_the_groups_say(provider: IdentityProvider):
    assert enter(provider, "grace", "bosses").role == "owner"

    for _ in range(2):
        assert enter(provider, "grace", "engineers").role == "owner"
    with pytest.raises(IdentityRefused, match="last owner"):
        enter(provider, "grace", "gardeners")

    # Operators are told, once, and until it is over.
    told = AuditEvent.objects.get(action="membership.kept")
    assert (told.tenant_id, json.loads(told.details)) == (
        provider.tenant_id,
        {"groups_give": "developer"},
    )
    (kept,) = kept_owners()
    assert (kept.tenant_id, kept.username) == (provider.tenant_id, "grace")
    assert "last owner" in " ".join(each.message for each in doctor.examine())
    assert provider.tenant is not None
    assert needing(OPERATOR) == [("kept_owner", str(provider.tenant_id))]
    assert needing(access_as(provider.tenant, "owner")) == []
    assert enter(provider, "ada", "bosses").role == "owner"
    assert enter(provider, "grace", "engineers").role == "developer"
    assert kept_owners() == []


def test_who_is_made_an_owner_by_hand_as_well_is_no_matter_of_operators(provider: IdentityProvider):
    enter(provider, "grace", "bosses")
    enter(provider, "grace", "engineers")
    other = User.objects.create_user("other")
    assert provider.tenant is not None
    Membership.objects.create(tenant=provider.tenant, user=other, role="owner")

    assert kept_owners() == []


def test_nobody_is_made_a_member_of_a_tenant_that_is_deleted(provider: IdentityProvider):
    assert provider.tenant is not None
    enter(provider, "ada", "bosses")
    asking.ask(provider.tenant, OPERATOR, typed_slug=provider.tenant.slug)
    before = User.objects.count()

    with pytest.raises(IdentityRefused, match="does not know you"):
        enter(provider, "linus", "engineers")

    assert User.objects.count() == before


def test_who_may_come_in_as_whom_is_in_the_audit_log(provider: IdentityProvider):
    enter(provider, "linus", "engineers")
    enter(provider, "linus", "engineers")  # which is a sign-in, and tells of itself
    root = User.objects.create_superuser("root")
    ExternalIdentity.objects.create(issuer=provider.issuer, subject="eve", user=root).delete()

    told = AuditEvent.objects.filter(object_type="external_identity").order_by("id")
    assert list(told.values_list("action", "object_name")) == [
        ("external_identity.created", "linus at https://login.example"),
        ("external_identity.created", "eve at https://login.example"),
        ("external_identity.deleted", "eve at https://login.example"),
    ]
