"""Tokens of the playground: good for the person they were signed for, in their session, for one key, and no
longer than any of these is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
from django.contrib.auth.models import User

from tenants import suspension
from tenants.access.access import OPERATOR
from tenants.keys import keys, play_tokens
from tenants.models import ApiKey, ConsoleSession, CustomRole, Membership
from tests.isolation.world import CANARY, UNKNOWN, furnish
from tests.plugins.cases import cases
from tests.support import console_session, ledger, rows
from tests.support.client import client_of
from tests.support.console_session import SignedIn
from tests.support.live import LiveGateway
from tests.support.outcomes import Outcomes
from tests.support.rows import Customer

BODY = {"model": "sandbox-responses", "input": "Hi", "user": "somebody-else"}


@pytest.fixture
def person(acme: Customer) -> SignedIn:
    return console_session.member("developer", acme.tenant)


def token_of(person: SignedIn, customer: Customer) -> str:
    secret, _ = play_tokens.sign(customer.key.public_id, person.user.pk, person.session_id)
    return secret.reveal()


def ask(
    gateway: LiveGateway, token: str, path: str = "/responses", **body: object
) -> httpx.Response:
    with client_of(gateway, None, authorization=f"Bearer {token}") as http:
        return http.post(path, json={**BODY, **body})


def test_a_call_is_the_keys_and_tagged_with_the_person_whatever_it_says_itself(
    gateway: LiveGateway, acme: Customer, person: SignedIn, outcomes: Outcomes
) -> None:
    ledger.begin_here(gateway)
    token = token_of(person, acme)
    assert ask(gateway, token).status_code == 200
    (booked,) = ledger.rows(gateway)
    assert (booked.key_id, booked.tenant_id) == (acme.key.pk, acme.tenant.pk)
    assert booked.end_user == "console:developer-of-acme"
    (line,) = outcomes()
    assert line["key"] == acme.key.public_id
    assert not any(piece in str(line) for piece in (token, token[-64:], person.session_id))


ENDS: dict[str, Callable[[Customer, SignedIn], object]] = {
    "its session has ended": lambda _, person: ConsoleSession.objects.filter(
        pk=person.session_id
    ).delete(),
    "its person was removed": lambda _, person: Membership.objects.filter(
        user=person.user
    ).delete(),
    "its person may only read": lambda _, person: Membership.objects.filter(
        user=person.user
    ).update(role="viewer"),
    "its person was locked out": lambda _, person: (
        type(person.user).objects.filter(pk=person.user.pk).update(is_active=False)
    ),
    "its person has another password": lambda _, person: (
        type(person.user).objects.filter(pk=person.user.pk).update(password="another")
    ),
    "its key was revoked": lambda customer, _: keys.revoke(customer.key),
    "its key was deleted": lambda customer, _: customer.key.delete(),
    "its tenant was suspended": lambda customer, _: suspension.suspend(customer.tenant, OPERATOR),
}


@cases("why", list(ENDS))
def test_a_token_ends_at_once_when(gateway: LiveGateway, why: str) -> None:
    rows.sandbox_aliases(gateway.sandbox.base_url)
    customer = rows.customer(f"acme-{list(ENDS).index(why)}")
    person = console_session.member("developer", customer.tenant)
    token = token_of(person, customer)
    assert ask(gateway, token).status_code == 200
    ENDS[why](customer, person)
    answer = ask(gateway, token)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


def test_a_token_ends_after_its_time(
    gateway: LiveGateway, acme: Customer, person: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(play_tokens, "VALID_SECONDS", 0)
    assert ask(gateway, token_of(person, acme)).status_code == 401


def test_no_part_of_a_token_can_be_changed(
    gateway: LiveGateway, acme: Customer, bob: Customer, person: SignedIn
) -> None:
    token = token_of(person, acme)
    for place in range(len(token)):
        changed = token[:place] + ("0" if token[place] != "0" else "1") + token[place + 1 :]
        assert play_tokens.read(changed) is None, place
    assert play_tokens.read(token) is not None
    for other in (
        token + "0", token.upper(), token[:-1], token.replace(acme.key.public_id, bob.key.public_id),
    ):  # fmt: skip
        assert play_tokens.read(other) is None
        assert ask(gateway, other).status_code == 401


def test_a_person_plays_with_no_key_of_another_tenant(
    gateway: LiveGateway, acme: Customer, bob: Customer, person: SignedIn
) -> None:
    assert ask(gateway, token_of(person, bob)).status_code == 401
    # Nor in somebody else's session.
    other = console_session.member("developer", bob.tenant)
    assert ask(gateway, token_of(replace(person, cookie=other.cookie), acme)).status_code == 401


def test_another_tenants_ids_are_as_unknown_to_a_token_as_to_its_key(
    gateway: LiveGateway, acme: Customer, bob: Customer, person: SignedIn
) -> None:
    theirs = furnish(bob, CANARY).ids
    token = token_of(person, acme)
    for field, kind in (("previous_response_id", "response"), ("conversation", "conversation")):
        foreign, unknown = (
            ask(gateway, token, **{field: each}) for each in (theirs[kind][0], UNKNOWN[kind])
        )
        assert (foreign.status_code, foreign.json()) == (unknown.status_code, unknown.json())
        assert CANARY not in foreign.text


def test_what_the_key_may_not_its_token_may_not_either(
    gateway: LiveGateway, acme: Customer, person: SignedIn
) -> None:
    token = token_of(person, acme)
    ApiKey.objects.filter(pk=acme.key.pk).update(allowed_networks=["192.0.2.0/24"])
    gateway.catch_up()
    assert ask(gateway, token).status_code == 403
    ApiKey.objects.filter(pk=acme.key.pk).update(allowed_networks=[], scopes=["models"])
    gateway.catch_up()
    assert ask(gateway, token).status_code == 403
    assert len(gateway.sandbox.calls) == 0


def test_who_may_not_read_what_is_stored_continues_nothing_of_it(
    gateway: LiveGateway, acme: Customer
) -> None:
    role = CustomRole.objects.create(
        tenant=acme.tenant, name="keys", permissions=["keys.view", "keys.change"]
    )
    user = User.objects.create_user("keeper")
    Membership.objects.create(user=user, tenant=acme.tenant, role="", custom_role=role)
    stored = furnish(acme, CANARY).ids["response"][0]
    token = token_of(console_session.sign_in(user), acme)
    assert ask(gateway, token).status_code == 200
    answer = ask(gateway, token, previous_response_id=stored)
    assert answer.status_code == 403
    assert CANARY not in answer.text


def test_a_token_opens_neither_the_management_api_nor_what_is_stored(
    gateway: LiveGateway, acme: Customer, person: SignedIn
) -> None:
    token = token_of(person, acme)
    stored = furnish(acme, CANARY).ids["response"][0]
    with client_of(gateway, None, authorization=f"Bearer {token}") as http:
        followed = http.get(f"/responses/{stored}", params={"stream": "true"})
    assert followed.status_code == 403
    assert CANARY not in followed.text
    for path in ("/api/v1/keys", "/v1/models", "/v1/responses/resp_x", "/v1/usage"):
        with client_of(gateway, None, "", authorization=f"Bearer {token}") as http:
            assert http.get(path).status_code == 401, path
