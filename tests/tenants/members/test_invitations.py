"""An invitation lets one person in, once, with the role that whoever made it can still give."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.core import mail
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection

from gateway_project.lib import clock
from gateway_project.lib.secret import Secret
from tenants.access.access import OPERATOR, access_of
from tenants.deletion import asking
from tenants.members import invitations, members, roles
from tenants.members.invitations import AlreadyMember, InvitationInvalid
from tenants.models import ExternalIdentity, IdentityProvider, Invitation, Membership, Tenant
from tests.commands.running import answer, refusal
from tests.tenants.members.test_members import at_once, member, tenant, who_is

pytestmark = pytest.mark.django_db


def invited(of: Tenant, role: roles.Role = "viewer", by: str = "ada") -> Secret:
    maker = User.objects.get(username=by)
    return invitations.invite(access_of(maker), of, role, created_by=maker)[1]


def test_only_a_digest_of_the_link_is_kept():
    acme = tenant()
    member(acme, "ada", "owner")
    token = invited(acme)
    [row] = Invitation.objects.values_list()
    assert token.reveal() not in str(
        [bytes(each) if isinstance(each, memoryview) else each for each in row]
    )
    assert invitations.find(token).tenant == acme


def test_an_invitation_works_once_and_for_its_role():
    acme = tenant()
    member(acme, "ada", "owner")
    desk = roles.create_role(OPERATOR, acme, "desk", ["keys.view"])
    token = invited(acme, desk)

    user = invitations.sign_up(token, "bob", Secret("a long enough password"))

    assert access_of(user).within(acme.pk) == desk.gives
    assert user.check_password("a long enough password")
    with pytest.raises(InvitationInvalid):
        invitations.accept_invitation(token, User.objects.create_user("eve"))
    again = invited(acme)
    with pytest.raises(AlreadyMember):
        invitations.accept_invitation(again, user)
    assert invitations.find(again)  # and is still there for somebody else
    with pytest.raises(ValidationError) as refused:
        invitations.sign_up(again, "bob", Secret("a long enough password"))
    assert set(refused.value.message_dict) == {"username"}
    with pytest.raises(ValidationError) as refused:
        invitations.sign_up(again, "carl", Secret("short"))
    assert set(refused.value.message_dict) == {"password"}
    assert not User.objects.filter(username="carl").exists()


def test_what_opens_nothing_all_says_the_same():
    acme = tenant()
    ada, bob = member(acme, "ada", "owner"), member(acme, "bob", "owner")

    def expire(token: Secret) -> None:
        Invitation.objects.update(expires_at=clock.now() - timedelta(seconds=1))

    def lose_a_right(token: Secret) -> None:
        members.set_role(OPERATOR, ada, "admin")  # who may invite, but not owners

    messages: set[str] = set()
    for end in (
        lambda token: invitations.accept_invitation(token, User.objects.create_user("used")),
        lambda token: invitations.revoke(OPERATOR, invitations.find(token)),
        lambda token: invitations.resend(OPERATOR, invitations.find(token), created_by=ada.user),
        expire,
        lose_a_right,
        lambda token: Tenant.objects.filter(pk=acme.pk).update(status="suspended"),
        lambda token: User.objects.filter(pk=ada.user_id).update(is_active=False),
        lambda token: User.objects.get(pk=ada.user_id).delete(),
    ):
        token = invited(acme, "owner")
        invitations.find(token)
        end(token)
        with pytest.raises(InvitationInvalid) as refused:
            invitations.accept_invitation(token, User.objects.create_user(f"eve{len(messages)}"))
        messages.add(refused.value.messages[0])
        User.objects.filter(username__startswith="eve").delete()
        Tenant.objects.filter(pk=acme.pk).update(status="active")
        User.objects.filter(pk=ada.user_id).update(is_active=True)
        if User.objects.filter(pk=ada.user_id).exists():
            members.set_role(OPERATOR, ada, "owner")
    for garbage in ("", "tg_inv_", "tg_inv_" + "x" * 32, "\0", "x" * 5000):
        with pytest.raises(InvitationInvalid) as refused:
            invitations.find(Secret(garbage))
        messages.add(refused.value.messages[0])
    assert len(messages) == 1
    assert bob.role == "owner"


def test_an_invitation_opens_nothing_whose_maker_could_not_come_in_any_more():
    """A tenant that demands more than its maker has is closed to them, and so is what they gave away."""
    acme = tenant()
    ada = member(acme, "ada", "owner").user
    root = User.objects.create_superuser("root")
    token, roots = invited(acme), invited(acme, by="root")
    provider = IdentityProvider.objects.create(
        tenant=acme, name="login", issuer="https://login.example", client_id="us"
    )
    known = ExternalIdentity(issuer=provider.issuer, subject="a", user=ada)

    def opens() -> bool:
        assert (
            invitations.find(roots).created_by == root
        )  # operators are held to no tenant's demand
        try:
            return bool(invitations.find(token))
        except InvitationInvalid:
            return False

    Tenant.objects.update(requires_second_factor=True)
    assert not opens()
    Authenticator.objects.create(user=ada, type=Authenticator.Type.TOTP, data={})
    assert opens()
    Tenant.objects.update(requires_identity_provider=True)
    assert not opens()
    known.save()
    assert opens()
    IdentityProvider.objects.update(enabled=False)
    assert not opens()
    Tenant.objects.update(requires_identity_provider=False)
    assert opens()


def test_no_link_leads_into_a_tenant_that_is_deleted():
    acme = tenant("acme")
    links = [
        invitations.invite(OPERATOR, acme, "viewer", created_by=maker)[1]
        for maker in (None, User.objects.create_superuser("root"))
    ]
    asking.ask(acme, OPERATOR, typed_slug="acme")

    for link in links:
        with pytest.raises(InvitationInvalid):
            invitations.sign_up(link, "grace", Secret("a long enough password"))

    assert not User.objects.filter(username="grace").exists()


def test_nobody_invites_with_more_than_they_hold_nor_without_end():
    acme = tenant()
    who = who_is(member(acme, "ada", "admin"))
    ada = User.objects.get(username="ada")
    for role, of in (("owner", acme), ("viewer", tenant("other"))):
        with pytest.raises(PermissionDenied):
            invitations.invite(who, of, role, created_by=ada)
    for field, options in (
        ("email", {"email": "nobody"}),
        ("valid_for", {"valid_for": timedelta(days=31)}),
        ("valid_for", {"valid_for": timedelta(0)}),
    ):
        with pytest.raises(ValidationError) as refused:
            invitations.invite(who, acme, "viewer", created_by=ada, **options)
        assert set(refused.value.message_dict) == {field}
    for _ in range(invitations.MAX_OPEN):
        invitations.invite(who, acme, "viewer", created_by=ada)
    with pytest.raises(ValidationError, match="open invitations"):
        invitations.invite(who, acme, "viewer", created_by=ada)


@pytest.mark.persistence
@pytest.mark.django_db(transaction=True)
def test_of_all_who_use_a_link_at_once_one_gets_in(monkeypatch: pytest.MonkeyPatch):
    """On PostgreSQL all have seen it open before the first of them takes it."""
    acme = tenant()
    token = invitations.invite(OPERATOR, acme, "viewer", created_by=None)[1]
    people = [User.objects.create_user(f"user{number}") for number in range(4)]
    look = invitations.find
    everybody = threading.Barrier(len(people) if connection.vendor == "postgresql" else 1)

    def find(given: Secret) -> Invitation:
        try:
            return look(given)
        finally:
            everybody.wait()

    monkeypatch.setattr(invitations, "find", find)
    acts = [lambda user=user: invitations.accept_invitation(token, user) for user in people]
    raised = [type(each).__name__ for each in at_once(*acts)]

    assert sorted(raised) == ["InvitationInvalid"] * 3 + ["NoneType"]
    [joined] = Membership.objects.filter(tenant=acme)
    assert Invitation.objects.get().used_by_id == joined.user_id


def test_invite_by_command_mails_the_link_where_mail_can_be_sent(settings):
    tenant()
    made = answer("invite", "--tenant", "acme", "--role", "admin", "--email", "a@example.com")
    assert "TOLLGATE_SMTP_URL is not set" in made["mail"]
    assert mail.outbox == []
    settings.SMTP_URL = Secret("smtp://mail.example.com")
    settings.CSRF_TRUSTED_ORIGINS = ["https://*.example.com", "https://gate.example.com"]
    made = answer("invite", "--tenant", "acme", "--role", "admin", "--email", "a@example.com")
    [sent] = mail.outbox
    assert made["link"].startswith("https://gate.example.com/console/invitations/tg_inv_")
    assert made["link"] in sent.body
    assert (sent.to, made["role"], made["mail"]) == (
        ["a@example.com"],
        "admin",
        "Sent to a@example.com.",
    )
    token = Secret(made["link"].rstrip("/").rpartition("/")[2])
    invitations.sign_up(token, "bob", Secret("a long enough password"))
    assert User.objects.get(username="bob").email == "a@example.com"
    assert "expires" in refusal(
        "invite", "--tenant", "acme", "--role", "admin", "--expires", "soon"
    )
    assert "console-url" in refusal(
        "invite", "--tenant", "acme", "--role", "admin", "--console-url", "x"
    )
