"""Members, roles, invitations, sign-in, the audit log and the end of a tenant, by token."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.urls import reverse

from gateway_project.lib import clock, sealing
from gateway_project.lib.secret import Secret
from tenants.keys import api_tokens
from tenants.members import invitations
from tenants.models import (
    ApiKey,
    ApiToken,
    AuditEvent,
    CustomRole,
    IdentityProvider,
    Invitation,
    Membership,
    Tenant,
    TenantDeletion,
)
from tenants.sign_in import identities
from tests.api.callers import Api, of_member, of_operator
from tests.console import world as worlds
from tests.console.world import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner(world: World) -> Api:
    return of_member("owner", world.ours.tenant)


# Members


def test_a_member_gets_another_role_a_built_in_one_or_the_tenants_own(world: World, owner: Api):
    place, own = f"members/{world.ours.member.pk}", world.ours.role.pk

    for body, role, custom in (
        ({"role": "viewer"}, "viewer", None),
        ({"custom_role": own}, "", own),
        ({"role": "", "custom_role": own}, "", own),
        ({"role": "admin"}, "admin", None),
        ({}, "admin", None),
    ):
        told = owner.patch(place, body)
        assert told.status_code == 200, body
        assert (told.json()["role"], told.json()["custom_role"]) == (role, custom), body
    sent_back = {"tenant": world.ours.tenant.pk, "custom_role": None, "role": "viewer"}
    assert owner.patch(place, sent_back).json()["role"] == "viewer"
    for wrong in ({"role": "admin", "custom_role": own}, {"role": ""}, {"role": "boss"},
                  {"custom_role": world.theirs.role.pk}):  # fmt: skip
        assert owner.patch(place, wrong).status_code == 400, wrong
    assert Membership.objects.get(pk=world.ours.member.pk).role == "viewer"


def test_nobody_gives_a_role_above_their_own(world: World):
    admin = of_member("admin", world.ours.tenant)
    place = f"members/{world.ours.member.pk}"
    strong = CustomRole.objects.create(
        tenant=world.ours.tenant, name="strong", permissions=["roles.view", "roles.add"]
    )

    assert admin.patch(place, {"role": "owner"}).status_code == 403
    assert admin.patch(place, {"custom_role": strong.pk}).status_code == 403
    assert admin.post("invitations", {"role": "owner"}).status_code == 403
    assert admin.post("invitations", {"custom_role": strong.pk}).status_code == 403
    assert Invitation.objects.filter(tenant=world.ours.tenant).count() == 1


def test_the_last_owner_stays(world: World, owner: Api, operator: Api):
    mine = Membership.objects.get(user=owner.token.created_by)
    place = f"members/{mine.pk}"

    for answer in (
        owner.patch(place, {"role": "admin"}),
        operator.patch(place, {"custom_role": world.ours.role.pk}),
        owner.delete(place),
        operator.delete(place),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "last owner" in answer.json()["detail"]
    second = User.objects.create_user("second-owner")
    Membership.objects.create(tenant=world.ours.tenant, user=second, role="owner")
    assert operator.patch(place, {"role": "admin"}).status_code == 200


# Roles


def test_a_role_of_ones_own_is_made_changed_and_kept_while_it_is_in_use(world: World, owner: Api):
    made = owner.post("roles", {"name": "desk", "permissions": ["keys.view"]})
    place = f"roles/{made.json()['id']}"
    changed = owner.patch(place, {"name": "front desk", "permissions": ["keys.view", "keys.add"]})
    taken = owner.post("roles", {"name": "front desk", "permissions": ["keys.view"]})
    in_use = owner.delete(f"roles/{world.ours.role.pk}")

    assert made.status_code == 201
    assert made.json()["created_by"] == owner.token.created_by_id
    assert changed.json()["permissions"] == ["keys.view", "keys.add"]
    assert taken.status_code == 400
    assert (in_use.status_code, in_use.json()["code"]) == (409, "conflict")
    assert "open invitation" in in_use.json()["detail"]
    for wrong in (["keys.add"], ["prices.add"], ["x"], "keys.view", [1]):
        answer = owner.patch(place, {"permissions": wrong})
        assert (answer.status_code, set(answer.json()["errors"])) == (400, {"permissions"}), wrong
    assert owner.post("roles", {"name": "Owner", "permissions": ["keys.view"]}).status_code == 400
    assert owner.delete(place).status_code == 204


def test_a_token_makes_no_role_that_may_more_than_itself(world: World):
    few = of_member("owner", world.ours.tenant, "roles.*", "keys.view")

    assert few.post("roles", {"name": "a", "permissions": ["keys.view"]}).status_code == 201
    beyond = {"name": "b", "permissions": ["keys.view", "keys.add"]}
    assert few.post("roles", beyond).status_code == 403


# Invitations


def token_in(link: str) -> Secret:
    return Secret(link.rstrip("/").rpartition("/")[2])


def is_open(link: Secret) -> bool:
    try:
        return bool(invitations.find(link))
    except invitations.InvitationInvalid:
        return False


def test_an_invitation_is_shown_once_sent_again_and_revoked(world: World, owner: Api):
    body = {"email": "guest@example.com", "role": "viewer", "valid_for": "2d"}
    made = owner.post("invitations", body, idempotency_key="one")
    again = owner.post("invitations", body, idempotency_key="one")
    place = f"invitations/{made.json()['id']}"

    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    link = made.json()["link"]
    assert link.startswith("http://testserver/console/invitations/")
    assert invitations.find(token_in(link)).pk == made.json()["id"]
    assert invitations.find(token_in(link)).created_by == owner.token.created_by
    assert made.json()["mail"].startswith("Not sent")
    assert (again.json()["id"], again.json()["link"]) == (made.json()["id"], None)
    assert "link" not in owner.get(place).json()
    sent = owner.post(f"{place}/resend").json()
    with pytest.raises(invitations.InvitationInvalid):
        invitations.find(token_in(link))
    assert invitations.find(token_in(sent["link"])).pk == made.json()["id"]
    for _ in range(2):
        assert owner.post(f"{place}/revoke").json()["state"] == "revoked"
    with pytest.raises(invitations.InvitationInvalid):
        invitations.find(token_in(sent["link"]))
    assert owner.post(f"{place}/resend").status_code == 409


def test_an_invitation_of_a_token_is_worth_what_the_token_is(world: World, owner: Api):
    """Three tokens: an owner's, one that it made, and an operator's that has no person behind it."""
    made = owner.post("tokens", {"name": "further", "scopes": ["members.*", "*.view"]})
    further = Api(ApiToken.objects.get(public_id=made.json()["id"]), Secret(made.json()["secret"]))
    command = of_operator("members.*", "*.view")
    tenant = {"tenant": world.ours.tenant.pk}
    links = {
        caller.token.pk: token_in(
            caller.post("invitations", {"role": "viewer", **where}).json()["link"]
        )
        for caller, where in ((owner, {}), (further, {}), (command, tenant))
    }

    def opening() -> set[int]:
        return {token for token, link in links.items() if is_open(link)}

    assert opening() == {owner.token.pk, further.token.pk, command.token.pk}
    api_tokens.revoke(command.token)
    assert opening() == {owner.token.pk, further.token.pk}
    ApiToken.objects.filter(pk=further.token.pk).update(scopes=["members.view"])
    assert opening() == {owner.token.pk}
    ApiToken.objects.filter(pk=further.token.pk).update(scopes=["members.*", "*.view"])
    api_tokens.revoke(owner.token)  # and what it made ends with it
    assert opening() == set()
    ApiToken.objects.filter(pk=owner.token.pk).delete()
    assert opening() == set()


def test_a_person_who_sends_a_tokens_invitation_again_stands_for_it(world: World, owner: Api):
    made = owner.post("invitations", {"role": "viewer"}).json()
    person = worlds.staff("admin", world.ours.tenant)
    row = Invitation.objects.get(pk=made["id"])
    sent = person.post(reverse("admin:tenants_invitation_do", args=(row.pk, "send_again")))
    link = Secret(re.findall(r"tg_inv_\w{32}", sent.content.decode())[0])

    api_tokens.revoke(owner.token)
    assert is_open(link)
    assert not is_open(token_in(made["link"]))


def test_an_invitation_is_mailed_once_however_often_it_is_asked_for(
    world: World, owner: Api, settings
):
    settings.SMTP_URL = "smtp://mail.example"
    settings.CSRF_TRUSTED_ORIGINS = ["https://console.example"]
    body = {"email": "guest@example.com", "role": "viewer"}

    told = [owner.post("invitations", body, idempotency_key="one").json()["mail"] for _ in range(2)]

    assert told == ["Sent to guest@example.com.", None]
    assert "https://console.example/console/invitations/" in mail.outbox[0].body
    assert [each.to for each in mail.outbox] == [["guest@example.com"]]


def test_what_is_wrong_with_an_invitation_is_named(world: World, owner: Api):
    for body, name in (
        ({"role": "viewer", "valid_for": "31d"}, "valid_for"),
        ({"role": "viewer", "valid_for": "x"}, "valid_for"),
        ({"role": "viewer", "valid_for": 7}, "valid_for"),
        ({"role": "viewer", "email": "x"}, "email"),
        ({"email": "a@example.com"}, "role"),
        ({"role": "viewer", "expires_at": "2030-01-01T00:00:00Z"}, "expires_at"),
    ):
        answer = owner.post("invitations", body)
        assert (answer.status_code, set(answer.json()["errors"])) == (400, {name}), body


# Signing in


def test_an_identity_providers_secret_goes_in_and_never_comes_out(world: World, owner: Api):
    made = owner.post(
        "identity-providers",
        {"name": "Login", "issuer": "https://login.example", "client_id": "c",
         "secret": "client-secret-1234"},
    )  # fmt: skip
    place = f"identity-providers/{made.json()['id']}"

    assert made.status_code == 201
    row = IdentityProvider.objects.get(pk=made.json()["id"])
    assert row.tenant_id == world.ours.tenant.pk
    assert made.json()["secret"] == "••••1234"
    assert identities.client_of(row).secret == Secret("client-secret-1234")
    sealed = row.sealed_secret
    shown = owner.get(place).json()
    answer = owner.patch(place, {"name": "New", "secret": shown["secret"]})
    assert answer.json()["secret"] == "••••1234"
    owner.patch(place, {"secret": ""})
    row.refresh_from_db()
    assert (row.name, row.sealed_secret) == ("New", sealed)
    owner.patch(place, {"secret": "another-secret-9999"})
    row.refresh_from_db()
    assert row.last_four == "9999"
    assert sealing.key_id_of(row.sealed_secret)
    assert owner.get(f"identity-providers/{world.ours.identity.pk}").json()["secret"] == ""
    unusable: list[Any] = [[], 5, "x" * 10_001, "\ud800"]
    for wrong in unusable:
        answer = owner.patch(place, {"secret": wrong})
        assert answer.status_code == 400, wrong


def test_what_owners_may_not_say_of_sign_in_is_refused(world: World, owner: Api, operator: Api):
    provider = f"identity-providers/{world.ours.identity.pk}"
    narrow = of_member("admin", world.ours.tenant)

    assert narrow.patch(provider, {"name": "x"}).status_code == 403
    assert owner.patch(provider, {"allow_private_network": True}).status_code == 400
    assert owner.patch(provider, {"issuer": "https://other.example"}).status_code == 400
    assert owner.patch(provider, {"maximum_role": "owner"}).status_code == 200
    assert owner.patch(provider, {"group_roles": {"a": "boss"}}).status_code == 400
    few = of_operator("sign_in.*")
    beyond = few.patch(provider, {"maximum_role": "admin"})
    assert (beyond.status_code, set(beyond.json()["errors"])) == (400, {"maximum_role"})
    platforms = {"name": "P", "issuer": "https://login.plat.example", "client_id": "c"}
    assert operator.post("identity-providers", platforms).json()["tenant"] is None


def test_an_operator_alone_confirms_a_domain_and_none_is_changed(
    world: World, owner: Api, operator: Api
):
    body = {"provider": str(world.ours.identity.pk), "domain": "ours.example"}

    assert owner.post("identity-domains", {**body, "confirmed": True}).status_code == 400
    made = owner.post("identity-domains", body)
    place = f"identity-domains/{made.json()['id']}"

    assert made.json()["confirmed"] is False
    assert owner.patch(place, {"confirmed": True}).status_code == 400
    assert operator.patch(place, {"confirmed": True}).json()["confirmed"] is True
    for api in (owner, operator):
        assert api.patch(place, {"domain": "bank.example"}).status_code == 400
    assert owner.post("identity-domains", {**body, "domain": "no domain"}).status_code == 400
    assert owner.delete(place).status_code == 204


def test_what_signing_in_takes_is_the_owners_to_say(world: World, owner: Api, operator: Api):
    place = f"tenants/{world.ours.tenant.pk}"
    admin = of_member("admin", world.ours.tenant)

    refused = admin.patch(place, {"requires_second_factor": True})
    assert refused.status_code == 400
    assert "Only an owner of the tenant sets this" in refused.json()["detail"]
    assert owner.patch(place, {"shows_upstreams": False}).status_code == 400
    assert operator.patch(place, {"shows_upstreams": False}).json()["shows_upstreams"] is False
    assert owner.patch(place, {"requires_second_factor": True}).json()["requires_second_factor"]
    assert owner.get(place).status_code == 401  # whoever made this token had none


# The audit log


def test_the_audit_log_is_read_by_filters_and_page_by_page(world: World, owner: Api):
    before = clock.now()
    owner.post("keys", {"name": "one"})
    key = owner.post("keys", {"name": "two"}).json()["id"]
    ours = AuditEvent.objects.filter(tenant=world.ours.tenant)
    row = str(ApiKey.objects.get(public_id=key).pk)

    def asked(**named: Any) -> list[dict[str, Any]]:
        found, cursor = [], ""
        while True:
            page = owner.get(f"audit?limit=2&{urlencode(named)}&cursor={quote(cursor)}").json()
            found += page["data"]
            if (cursor := page["next_cursor"]) is None:
                return found

    assert [each["id"] for each in asked()] == [str(e.pk) for e in ours.order_by("-id")]
    since = asked(since=before.isoformat())
    assert {each["actor_id"] for each in since} == {owner.token.public_id}
    assert len(since) == ours.filter(at__gte=before).count()
    assert not asked(until="2020-01-01T00:00:00Z")
    made = asked(action="api_key.created", object_id=row)
    assert [each["object_id"] for each in made] == [row]
    assert made[0]["changes"]["name"] == [None, "two"]
    assert asked(actor=owner.token.name, object_type="api_key")
    assert asked(tenant=world.theirs.tenant.pk) == []
    for wrong in ("since=x", "action=" + "x" * 65, "other=1"):
        assert owner.get(f"audit?{wrong}").status_code == 400, wrong


# The end of a tenant


def test_a_tenant_is_suspended_and_goes_on(world: World, operator: Api):
    place = f"tenants/{world.ours.tenant.pk}"

    for done, status in (("suspend", "suspended"), ("suspend", "suspended"), ("resume", "active")):
        assert operator.post(f"{place}/{done}").json()["status"] == status
        assert Tenant.objects.get(pk=world.ours.tenant.pk).status == status


def test_a_tenant_is_deleted_by_its_slug_and_not_by_its_own_people(
    world: World, owner: Api, operator: Api
):
    place = f"tenants/{world.ours.tenant.pk}"
    preview = operator.get(f"{place}/deletion").json()

    assert (preview["state"], preview["erased"]) == ("not_asked", {})
    assert preview["left"]["tenants.ApiKey"] == 1
    assert owner.get(f"{place}/deletion").json()["left"] is None
    assert owner.post(f"{place}/deletion", {"slug": "ours"}).status_code == 403
    for wrong in ({}, {"slug": "our"}, {"slug": 5}, {"slug": ""}):
        answer = operator.post(f"{place}/deletion", wrong)
        assert (answer.status_code, set(answer.json()["errors"])) == (400, {"slug"}), wrong
    assert not TenantDeletion.objects.exists()

    first, second = (operator.post(f"{place}/deletion", {"slug": "ours"}) for _ in range(2))

    assert first.status_code == second.status_code == 200
    assert (first.json()["state"], first.json()["asked_by"]) == ("running", "operator's")
    assert second.json()["asked_at"] == first.json()["asked_at"]
    assert TenantDeletion.objects.count() == 1
    assert operator.post(f"{place}/resume").status_code == 409
    assert operator.patch(place, {"status": "active"}).status_code == 409
    assert owner.get("keys").status_code == 401
    assert operator.get(f"{place}/deletion").json()["left"]["tenants.ApiKey"] == 1
