"""Accounts, sessions, and acting as a tenant, by token."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from gateway_project.lib import clock
from tenants.access.access import access_of
from tenants.keys import api_tokens
from tenants.models import (
    ApiKey,
    ApiToken,
    AuditEvent,
    ConsoleSession,
    ExternalIdentity,
    PlatformRole,
    SupportSession,
)
from tests.api.callers import Api, of_member, of_operator
from tests.console import world as worlds
from tests.console.world import World

pytestmark = pytest.mark.django_db


def person(name: str = "root") -> User:
    return User.objects.create_superuser(name)


def of_person(user: User, *scopes: str) -> Api:
    """A token of the platform that this person made."""
    made = api_tokens.create(access_of(user), "theirs", list(scopes) or ["*"], maker_id=user.pk)
    return Api(*made)


def session(user: User, key: str, **more: Any) -> ConsoleSession:
    ends = clock.now() + timedelta(hours=1)
    return ConsoleSession.objects.create(
        session_key=f"{key:0<40}", user=user, expire_date=ends, **more
    )


# Accounts


def test_an_operator_makes_an_auditor_whose_password_is_shown_once(world: World, operator: Api):
    body = {"username": "ada", "email": "ada@example.com", "role": "auditor"}
    made = operator.post("users", body, idempotency_key="one")
    again = operator.post("users", body, idempotency_key="one")

    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    user = User.objects.get(username="ada")
    assert user.check_password(made.json()["password"])
    assert (made.json()["role"], user.is_superuser) == ("auditor", False)
    assert (again.json()["id"], again.json()["password"]) == (user.pk, None)
    shown = operator.get(f"users/{user.pk}").json()
    assert "password" not in shown
    assert (shown["is_active"], shown["has_second_factor"]) == (True, False)
    listed = operator.get("users?username=ada").json()["data"]
    assert [each["id"] for each in listed] == [user.pk]
    events = AuditEvent.objects.filter(object_type__in=("user", "platform_role"))
    assert {"user.created", "platform_role.created"} <= {each.action for each in events}
    assert made.json()["password"] not in "".join(each.changes for each in events)


def test_what_is_wrong_with_an_account_is_named(world: World, operator: Api):
    User.objects.create_user("taken")
    for body, name in (
        ({"username": "x"}, "role"),
        ({"username": "x", "role": ""}, "role"),
        ({"username": "x", "role": "owner"}, "role"),
        ({"username": "taken", "role": "operator"}, "username"),
        ({"username": "", "role": "operator"}, "username"),
        ({"username": "x", "role": "operator", "email": "x"}, "email"),
        ({"username": "x", "role": "operator", "is_superuser": True}, "is_superuser"),
        ({"username": "x", "role": "operator", "password": "x"}, "password"),
    ):
        answer = operator.post("users", body)
        assert (answer.status_code, set(answer.json()["errors"])) == (400, {name}), body
    assert not User.objects.filter(username="x").exists()


def test_whoever_is_deactivated_is_out_of_every_session_and_token(world: World, operator: Api):
    person("who stays an operator")
    user = person()
    api, client = of_person(user), worlds.signed_in(user)
    assert client.get("/console/").status_code == api.get("keys").status_code == 200

    answer = operator.patch(f"users/{user.pk}", {"is_active": False})

    assert answer.json()["is_active"] is False
    assert not ConsoleSession.objects.filter(user=user).exists()
    assert client.get("/console/").status_code == 302
    assert api.get("keys").status_code == 401


def test_a_role_of_the_platform_is_given_and_taken(world: World, operator: Api):
    person("who stays an operator")
    user = User.objects.create_user("ada")
    place = f"users/{user.pk}"
    for role in ("operator", "auditor", "", "auditor", "operator", ""):
        assert operator.patch(place, {"role": role}).json()["role"] == role
        user = User.objects.get(pk=user.pk)
        assert user.is_superuser is (role == "operator")
        assert PlatformRole.objects.filter(user=user).exists() is (role == "auditor")
    assert operator.patch(place, {"role": "owner"}).status_code == 400
    assert operator.patch(place, {"username": "other"}).status_code == 400
    sent_back = operator.get(place).json()
    kept = {name: sent_back[name] for name in ("username", "email", "is_active", "role")}
    assert operator.patch(place, kept).status_code == 200


def test_a_token_for_less_than_everything_makes_no_operator(world: World):
    few, user = of_operator("members.*", "sign_in.*"), User.objects.create_user("ada")

    assert few.get("users").status_code == 200
    body = {"username": "x", "role": "operator"}
    assert few.post("users", body).status_code == 403
    assert few.patch(f"users/{user.pk}", {"role": "operator"}).status_code == 403
    assert few.patch(f"users/{user.pk}", {"email": "thief@example.com"}).status_code == 403
    root = person()
    mine = {"issuer": "https://login.example", "subject": "me", "user": root.pk}
    assert few.post("external-identities", mine).status_code == 403
    assert not ExternalIdentity.objects.exists()


def test_an_operator_says_who_is_who_at_a_provider(world: World, operator: Api):
    user = User.objects.create_user("ada")
    body = {"issuer": "https://login.example", "subject": "s-1", "user": user.pk}

    made = operator.post("external-identities", body)

    assert made.status_code == 201
    assert ExternalIdentity.objects.get(subject="s-1").user == user
    assert operator.post("external-identities", body).status_code == 400
    assert operator.delete(f"external-identities/{made.json()['id']}").status_code == 204


# Sessions


def test_a_token_sees_and_ends_the_sessions_of_its_maker_alone(world: World):
    api = of_member("owner", world.ours.tenant)
    mine: Any = api.token.created_by
    session(mine, "mine", address="192.0.2.1", browser="curl")
    session(world.ours.member.user, "colleague")

    listed = api.get("sessions").json()["data"]

    assert [(each["id"], each["address"]) for each in listed] == [(f"{'mine':0<40}", "192.0.2.1")]
    assert "session_data" not in listed[0]
    assert api.delete(f"sessions/{'colleague':0<40}").status_code == 404
    assert api.get(f"sessions?user={world.ours.member.user_id}").json()["data"] == []
    assert api.delete(f"sessions/{'mine':0<40}").status_code == 204
    assert {each.session_key for each in ConsoleSession.objects.all()} == {f"{'colleague':0<40}"}
    ended = AuditEvent.objects.get(action="session.ended")
    assert (ended.tenant_id, ended.actor_id) == (world.ours.tenant.pk, api.token.public_id)


def test_who_may_not_remove_members_sees_their_sessions_and_ends_none(world: World):
    api = of_member("developer", world.ours.tenant)
    mine: Any = api.token.created_by
    row = session(mine, "mine")

    assert len(api.get("sessions").json()["data"]) == 1
    assert api.delete(f"sessions/{row.pk}").status_code == 403


def test_an_operator_sees_a_persons_sessions_and_ends_one(world: World, operator: Api):
    user = world.theirs.member.user
    row = session(user, "one")
    session(user, "old").delete()
    ConsoleSession.objects.create(session_key="9" * 40, user=user, expire_date=clock.now())

    listed = operator.get(f"sessions?user={user.pk}").json()["data"]

    assert [each["id"] for each in listed] == [row.pk]
    assert operator.delete(f"sessions/{row.pk}").status_code == 204
    assert operator.get(f"sessions/{row.pk}").status_code == 404


# Acting as a tenant


def begun(api: Api, world: World, role: str = "admin") -> str:
    body = {"tenant": world.ours.tenant.pk, "role": role, "reason": "Ticket 7"}
    answer = api.post("support-sessions", body)
    assert answer.status_code == 201, answer.content
    assert answer.json()["operator_name"] == "root"
    return str(answer.json()["id"])


def test_an_operator_acts_as_a_tenant_with_its_role_and_no_more(world: World):
    api = of_person(person())
    acting = {"x_tollgate_support_session": begun(api, world)}

    keys = api.get("keys", **acting).json()["data"]
    made = api.post("keys", {"name": "of support"}, **acting)

    assert {each["tenant"] for each in keys} == {world.ours.tenant.pk}
    assert made.status_code == 201
    assert ApiKey.objects.get(name="of support").tenant_id == world.ours.tenant.pk
    event = AuditEvent.objects.get(action="api_key.created", object_name__startswith="of support")
    assert event.reason == "Ticket 7"
    assert api.get(f"keys/{world.theirs.key.public_id}", **acting).status_code == 404
    assert api.get("users", **acting).status_code == 403
    assert api.patch(f"tenants/{world.ours.tenant.pk}", {"slug": "x"}, **acting).status_code == 400
    assert (
        api.post("roles", {"name": "r", "permissions": ["keys.view"]}, **acting).status_code == 403
    )
    assert api.get("users").status_code == 200  # without the header they are themselves


def test_a_support_session_that_is_over_or_anothers_does_nothing(world: World):
    root, other = of_person(person()), of_person(person("other"))
    number = begun(root, world)
    acting = {"x_tollgate_support_session": number}

    assert other.get("keys", **acting).status_code == 403
    for wrong in ("", "x", "0", "99999999999999999999", "-1", "\N{SUPERSCRIPT TWO}"):
        header = {"x_tollgate_support_session": wrong}
        assert root.post("keys", {"name": "n"}, **header).status_code == 403, wrong
    ended = root.post(f"support-sessions/{number}/end")
    assert ended.status_code == 200
    assert ended.json()["ends_at"] <= clock.now().isoformat()
    answer = root.post("keys", {"name": "n", "tenant": world.ours.tenant.pk}, **acting)
    assert answer.status_code == 403
    assert "nothing was done" in answer.json()["detail"]
    assert not ApiKey.objects.filter(name="n").exists()


def test_only_a_person_with_every_right_of_an_operator_acts_as_a_tenant(world: World):
    body = {"tenant": world.ours.tenant.pk, "role": "viewer", "reason": "why"}
    of_nobody = of_operator()
    few = of_person(person(), "audit.*", "keys.*")
    owner = of_member("owner", world.ours.tenant)

    assert [each.post("support-sessions", body).status_code for each in (of_nobody, few, owner)] == [
        403, 403, 403,
    ]  # fmt: skip
    full = of_person(User.objects.get(username="root"))
    number = begun(full, world)
    acting = {"x_tollgate_support_session": number}
    assert few.get("keys", **acting).status_code == 403
    assert owner.get("keys", **acting).status_code == 403
    for wrong, name in (({**body, "reason": " "}, "reason"), ({**body, "role": "boss"}, "role"),
                        ({"role": "viewer", "reason": "why"}, "tenant")):  # fmt: skip
        answer = full.post("support-sessions", wrong)
        assert (answer.status_code, set(answer.json()["errors"])) == (400, {name}), wrong
    assert (
        SupportSession.objects.filter(
            tenant=world.ours.tenant, operator=full.token.created_by
        ).count()
        == 1
    )


def test_the_same_request_as_somebody_else_is_another_request(world: World):
    api = of_person(person())
    acting = {"x_tollgate_support_session": begun(api, world)}
    body = {"name": "once", "tenant": world.ours.tenant.pk}

    first = api.post("keys", body, idempotency_key="k")
    as_tenant = api.post("keys", body, idempotency_key="k", **acting)

    assert (first.status_code, as_tenant.status_code) == (201, 422)


def test_nobody_who_acts_as_a_tenant_makes_a_token_which_would_outlive_their_time(world: World):
    api = of_person(person())
    for role, status in (("viewer", 403), ("admin", 400)):
        acting = {"x_tollgate_support_session": begun(api, world, role)}
        refused = api.post("tokens", {"name": "t", "scopes": ["*"]}, **acting)
        assert refused.status_code == status
    assert "make it as yourself" in refused.text
    assert not ApiToken.objects.filter(name="t").exists()
