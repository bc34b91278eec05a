"""Tokens of the management API: what they may, how they end, and that they open nothing else."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import httpx
import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from gateway_project.lib import clock
from gateway_project.lib.rates import Rate
from gateway_project.lib.secret import Secret
from tenants import managed
from tenants.access.access import OPERATOR, access_of
from tenants.access.requests import SUPPORT_SESSION
from tenants.keys import api_tokens, keys
from tenants.members import support
from tenants.models import ApiToken, ExternalIdentity, IdentityProvider, Membership, Tenant
from tenants.sign_in import origin
from tests.api.callers import Api, member, of_member, of_operator, undone
from tests.console import world as worlds
from tests.console.world import World
from tests.support.live import LiveGateway
from tests.support.rows import Customer

pytestmark = pytest.mark.django_db


def test_a_token_is_shown_once_and_kept_as_a_digest(world: World, operator: Api):
    answer = operator.post("tokens", {"name": "ci", "scopes": ["keys.view"]})

    secret = answer.json()["secret"]
    token = ApiToken.objects.get(name="ci")
    assert secret.startswith(f"tg_admin_{token.public_id}_")
    assert "no-store" in answer.headers["cache-control"]
    assert api_tokens.find(secret) is not None
    read = operator.get(f"tokens/{token.public_id}").json()
    assert "secret" not in read
    assert read["shown"] == f"••••{secret[-4:]}"


def test_one_answer_for_every_token_that_is_none(world: World):
    _, key_secret = keys.create(world.ours.tenant, "k")
    _, secret = api_tokens.create(OPERATOR, "t", ["*"])
    text = secret.reveal()
    mistyped = text[:-1] + ("y" if text.endswith("x") else "x")
    wrong = ["", "Bearer", "Bearer x", f"Bearer {mistyped}", f"Basic {text}", "Bearer \xff"]

    answers = [
        Client(headers={"authorization": each} if each else {}).get("/api/v1/keys")
        for each in (*wrong, f"Bearer {key_secret.reveal()}")
    ]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["code"] == "invalid_token"
    assert answers[0].headers["www-authenticate"] == "Bearer"
    assert answers[0].headers["content-type"] == "application/problem+json"


def test_a_session_of_the_console_opens_nothing(world: World):
    assert worlds.operator().get("/api/v1/keys").status_code == 401


def ended(how: str, token: ApiToken, world: World) -> None:
    maker: Any = token.created_by
    match how:
        case "revoked":
            api_tokens.revoke(token)
        case "expired":
            ApiToken.objects.update(expires_at=clock.now() - timedelta(seconds=1))
        case "its tenant is suspended":
            Tenant.objects.filter(pk=world.ours.tenant.pk).update(status="suspended")
        case "its maker has left":
            Membership.objects.filter(user=maker).delete()
        case "its maker works elsewhere":
            Membership.objects.filter(user=maker).delete()
            Membership.objects.create(tenant=world.theirs.tenant, user=maker, role="owner")
        case "its maker may not sign in":
            type(maker).objects.filter(pk=maker.pk).update(is_active=False)
        case "its maker is gone":
            maker.delete()


WAYS = (
    "revoked", "expired", "its tenant is suspended", "its maker has left",
    "its maker works elsewhere", "its maker may not sign in", "its maker is gone",
)  # fmt: skip


def test_a_token_ends_with_its_time_its_tenant_and_its_maker(world: World):
    other = User.objects.create_user("second-owner")
    Membership.objects.create(tenant=world.ours.tenant, user=other, role="owner")  # one has to stay
    api = of_member("owner", world.ours.tenant)
    for how in WAYS:
        assert api.get("keys").status_code == 200
        with undone():
            ended(how, api.token, world)
            assert api.get("keys").status_code == 401, how


def test_a_token_loses_what_its_maker_loses(world: World):
    api = of_member("owner", world.ours.tenant)
    assert api.post("keys", {"name": "a"}).status_code == 201

    Membership.objects.filter(user=api.token.created_by).update(role="viewer")

    assert api.get("keys").status_code == 200
    assert api.post("keys", {"name": "b"}).status_code == 403
    Membership.objects.filter(user=api.token.created_by).update(role="billing")
    assert api.get("responses").status_code == 403


def test_nobody_gives_a_token_more_than_they_may(world: World):
    user = member("admin", world.ours.tenant)
    who = access_of(user)
    for scopes in (["prices.change"], ["keys.*", "roles.add"], [], ["nothing.view"], ["keys"]):
        with pytest.raises(ValidationError) as refused:
            api_tokens.create(who, "t", scopes, tenant=world.ours.tenant, maker_id=user.pk)
        assert set(refused.value.message_dict) == {"scopes"}
    with pytest.raises(ValidationError):
        api_tokens.create(who, "t", ["*"], maker_id=user.pk)  # of the platform

    token, _ = api_tokens.create(who, "t", ["*"], tenant=world.ours.tenant, maker_id=user.pk)

    assert "keys.add" in token.scopes
    assert "roles.add" not in token.scopes


def test_a_token_makes_no_token_that_may_more_than_itself(world: World):
    few = of_member("owner", world.ours.tenant, "tokens.*", "keys.view")

    beyond = few.post("tokens", {"name": "t", "scopes": ["keys.add"]})
    all_of_it = few.post("tokens", {"name": "t", "scopes": ["*"]})

    assert beyond.status_code == 400
    assert "keys.add" in beyond.json()["errors"]["scopes"][0]
    assert all_of_it.json()["scopes"] == [
        "keys.view", "tokens.add", "tokens.change", "tokens.delete", "tokens.view",
    ]  # fmt: skip
    assert all_of_it.json()["created_by"] == few.token.created_by_id
    platforms = few.post("tokens", {"name": "t", "scopes": ["*"], "tenant": None})
    assert platforms.status_code in {400, 403}


def test_a_token_of_a_token_ends_with_it_and_has_no_more_time(world: World):
    """Else whoever found one that ends tomorrow, or is revoked soon, would have one for good."""
    first = of_member("owner", world.ours.tenant)
    soon = clock.now().replace(microsecond=0) + timedelta(days=1)
    ApiToken.objects.filter(pk=first.token.pk).update(expires_at=soon)
    for_good: dict[str, Any] = {"expires_at": None}
    later = {"expires_at": (soon + timedelta(seconds=1)).isoformat()}
    earlier = {"expires_at": (soon - timedelta(hours=1)).isoformat()}
    tokens = [first]
    while len(tokens) < 4:
        made = tokens[-1].post("tokens", {"name": "t", "scopes": ["*"]}).json()
        assert made["made_by"] == tokens[-1].token.public_id
        assert datetime.fromisoformat(made["expires_at"]) == soon
        tokens.append(Api(ApiToken.objects.get(public_id=made["id"]), Secret(made["secret"])))
    assert tokens[-1].post("tokens", {"name": "t", "scopes": ["*"]}).status_code == 400

    for api in (first, tokens[2]):
        for body in (for_good, later):
            of_itself = api.patch(f"tokens/{api.token.public_id}", body)
            of_another = api.patch(f"tokens/{world.ours.token.public_id}", body | {"name": "n"})
            assert of_itself.status_code == 400, body
            assert of_another.status_code == (200 if body == for_good else 400)  # which has no end
        assert api.post("tokens", {"name": "t", "scopes": ["*"], **later}).status_code == 400
    assert first.patch(f"tokens/{first.token.public_id}", earlier).status_code == 200

    with undone():
        ApiToken.objects.filter(pk=tokens[1].token.pk).update(expires_at=clock.now())
        assert [api.get("keys").status_code for api in tokens] == [200, 401, 401, 401]
    with undone():
        ApiToken.objects.filter(pk=tokens[1].token.pk).delete()
        assert tokens[3].get("keys").status_code == 401
    api_tokens.revoke(first.token)
    assert {api.get("keys").status_code for api in tokens} == {401}


def test_who_acts_as_a_tenant_makes_no_token_that_would_outlive_it(world: World):
    root = User.objects.create_superuser("root")
    api = Api(*api_tokens.create(OPERATOR, "t", ["*"], maker_id=root.pk))
    session = support.start(OPERATOR, root, world.ours.tenant, role="owner", reason="asked")
    acting = {"x_tollgate_support_session": str(session.pk)}
    browser = worlds.signed_in(root)
    kept = browser.session
    kept[SUPPORT_SESSION] = session.pk
    kept.save()
    before = ApiToken.objects.count()

    by_token = api.post("tokens", {"name": "n", "scopes": ["*"]}, **acting)
    by_page = browser.post(
        reverse("admin:tenants_apitoken_add"), {"name": "n", "scopes": '["keys.view"]'}
    )

    assert by_token.status_code == 400
    assert "make it as yourself" in by_token.content.decode()
    assert "make it as yourself" in by_page.content.decode()
    assert ApiToken.objects.count() == before


def test_who_may_less_than_a_token_ends_it_but_does_not_prolong_it(world: World):
    strong = of_member("owner", world.ours.tenant)
    weak = of_member("admin", world.ours.tenant)
    place = f"tokens/{strong.token.public_id}"

    assert weak.patch(place, {"expires_at": None}).status_code == 403
    assert weak.post(f"{place}/revoke").status_code == 200
    assert strong.get("keys").status_code == 401


def test_no_token_is_made_for_nobody(world: World):
    """Code that forgot to say who acts must not make a token without bounds."""
    with pytest.raises(PermissionDenied):
        managed.create(OPERATOR, ApiToken, {"name": "t", "scopes": ["*"]})


def test_a_restricted_token_of_the_platform_sets_what_operators_set_within_its_scopes(
    world: World,
):
    api = of_operator("limits.*", "keys.view")
    values = {"tenant": world.ours.tenant.pk, "metric": "tokens", "window": "day", "amount": 9}

    assert api.post("limits", values).status_code == 201
    assert api.get("tenants").status_code == 403


def test_when_it_was_used_is_written_once_a_minute(world: World, operator: Api):
    operator.get("keys")
    first = ApiToken.objects.get(pk=operator.token.pk).last_used_at
    operator.get("keys")

    assert first is not None
    assert ApiToken.objects.get(pk=operator.token.pk).last_used_at == first
    long_ago = clock.now() - timedelta(minutes=2)
    ApiToken.objects.filter(pk=operator.token.pk).update(last_used_at=long_ago)
    operator.get("keys")
    assert not ApiToken.objects.filter(pk=operator.token.pk, last_used_at=long_ago).exists()


def test_the_command_prints_a_token_that_works(world: World):
    out = StringIO()
    call_command("create_token", "--name", "ci", "--tenant", "ours", "--scopes", "keys.*", "--expires",
                 "30d", "--json", stdout=out)  # fmt: skip
    made = json.loads(out.getvalue())

    found = api_tokens.find(made["token"])

    assert found is not None
    assert found.tenant_slug == "ours"
    assert "keys.add" in made["scopes"]
    assert made["expires_at"] > clock.now().isoformat()


def shown_on(answer: Any) -> str:
    """The one token on the page that shows it once."""
    [found] = re.findall(r'<code id="tg-secret-\d+">([^<]+)</code>', answer.content.decode())
    return str(found)


def test_the_console_shows_a_new_token_once(world: World):
    client = worlds.staff("owner", world.ours.tenant)
    add = reverse("admin:tenants_apitoken_add")

    for scopes in ("5", "x", "keys", "keys.view\nnothing.view", "* keys.view", ""):
        assert client.post(add, {"name": "t", "scopes": scopes}).status_code == 200
    assert not ApiToken.objects.filter(name="t").exists()
    refused = client.post(add, {"name": "t", "scopes": "prices.add"})
    answer = client.post(add, {"name": "t", "scopes": "*"})

    assert "You may not do this yourself" in refused.content.decode()
    token = ApiToken.objects.get(name="t")
    text = shown_on(answer)
    holder = api_tokens.find(text)
    assert holder is not None
    assert holder.access.tenants == {world.ours.tenant.pk}
    assert token.created_by is not None
    page = client.get(reverse("admin:tenants_apitoken_change", args=(token.pk,)))
    assert text not in page.content.decode()
    posted = {"action": "revoke", "_selected_action": [token.pk], "post": "yes"}
    client.post(reverse("admin:tenants_apitoken_changelist"), posted)
    assert api_tokens.find(text) is None


# What a tenant demands of those who sign in


def by_console(client: Client, name: str = "t") -> str:
    """Make a token as people do, and return it."""
    answer = client.post(reverse("admin:tenants_apitoken_add"), {"name": name, "scopes": "*"})
    assert answer.status_code == 200, answer
    return shown_on(answer)


def factor(user: User) -> Authenticator:
    return Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={})


def works(text: str) -> bool:
    return (
        Client(headers={"authorization": f"Bearer {text}"}).get("/api/v1/keys").status_code == 200
    )


def test_a_token_is_worth_what_a_session_of_its_maker_is_worth(world: World):
    user = member("owner", world.ours.tenant)
    weak = by_console(worlds.signed_in(user))
    before = factor(user)
    strong = by_console(worlds.signed_in(user))
    assert works(weak)
    assert works(strong)

    world.ours.tenant.requires_second_factor = True
    world.ours.tenant.save()

    assert works(strong)
    assert not works(weak)  # whoever made it knew a password
    browser = worlds.signed_in(user)
    told = [
        browser.get(reverse("admin:tenants_apitoken_change", args=(token.pk,))).content.decode()
        for token in ApiToken.objects.filter(created_by=user).order_by("pk")
    ]
    assert [("Refused: it has ended" in page, "Let in." in page) for page in told] == [
        (True, False), (False, True),
    ]  # fmt: skip
    of_token = Client(headers={"authorization": f"Bearer {strong}"}).post(
        "/api/v1/tokens", {"name": "child", "scopes": ["*"]}, "application/json"
    )
    child = of_token.json()["secret"]
    assert works(child)
    before.delete()
    assert not works(strong)
    assert not works(child)
    factor(user)
    assert works(strong)
    world.ours.tenant.requires_second_factor = False
    world.ours.tenant.save()
    assert works(weak)


def test_a_token_of_a_token_proved_no_more_than_that(world: World):
    user = member("owner", world.ours.tenant)
    weak = Client(headers={"authorization": f"Bearer {by_console(worlds.signed_in(user))}"})
    factor(user)
    child = weak.post("/api/v1/tokens", {"name": "c", "scopes": ["*"]}, "application/json").json()

    Tenant.objects.filter(pk=world.ours.tenant.pk).update(requires_second_factor=True)

    assert not works(child["secret"])


def test_nobody_makes_a_token_past_what_their_tenant_demands(world: World):
    client = worlds.staff("owner", world.ours.tenant)
    Tenant.objects.filter(pk=world.ours.tenant.pk).update(requires_second_factor=True)

    answer = client.post(
        reverse("admin:tenants_apitoken_add"), {"name": "past", "scopes": "*"}, follow=True
    )

    assert "Later" not in answer.content.decode()
    assert not ApiToken.objects.filter(name="past").exists()


def test_what_a_tenant_demands_binds_no_operator_nor_command(world: World):
    root = User.objects.create_superuser("root")
    of_person = Api(*api_tokens.create(OPERATOR, "t", ["*"], maker_id=root.pk))
    for_tenant = Api(
        *api_tokens.create(OPERATOR, "t", ["*"], tenant=world.ours.tenant, maker_id=root.pk)
    )
    by_command = Api(*api_tokens.create(OPERATOR, "t", ["*"], tenant=world.ours.tenant))
    Membership.objects.create(tenant=world.ours.tenant, user=root, role="viewer")

    Tenant.objects.filter(pk=world.ours.tenant.pk).update(
        requires_second_factor=True, requires_identity_provider=True
    )

    for api in (of_person, for_tenant, by_command):
        assert api.get("keys").status_code == 200
    assert for_tenant.post("keys", {"name": "n"}).status_code == 201


def through(user: User, provider: IdentityProvider) -> Client:
    """A browser in which somebody came in by an identity provider."""
    client = worlds.signed_in(user)
    session = client.session
    origin.mark(session, provider, user.pk)
    session.save()
    return client


def test_a_token_made_through_an_identity_provider_ends_with_it(world: World):
    user, provider = member("owner", world.ours.tenant), world.ours.identity
    known = ExternalIdentity.objects.create(issuer=provider.issuer, subject="o", user=user)
    by_password = by_console(worlds.signed_in(user))
    by_provider = by_console(through(user, provider), "p")
    assert works(by_provider)
    assert works(by_password)

    Tenant.objects.filter(pk=world.ours.tenant.pk).update(
        requires_identity_provider=True, requires_second_factor=True
    )
    assert works(by_provider)  # the provider answers for its people's second factors
    assert not works(by_password)
    factor(user)
    assert not works(by_password)
    IdentityProvider.objects.filter(pk=provider.pk).update(enabled=False)
    assert not works(by_provider)
    IdentityProvider.objects.filter(pk=provider.pk).update(enabled=True)
    assert works(by_provider)
    known.delete()  # an operator says that they are nobody there
    assert not works(by_provider)
    Tenant.objects.filter(pk=world.ours.tenant.pk).update(
        requires_identity_provider=False, requires_second_factor=False
    )
    assert not works(by_provider)
    assert works(by_password)


def test_a_token_made_through_a_tenants_provider_is_never_an_operators(world: World):
    user, provider = member("admin", world.ours.tenant), world.ours.identity
    ExternalIdentity.objects.create(issuer=provider.issuer, subject="o", user=user)
    token = by_console(through(user, provider))
    User.objects.filter(pk=user.pk).update(is_superuser=True)
    Membership.objects.filter(user=user).delete()

    assert not works(token)


def test_a_platforms_token_ends_with_the_provider_its_maker_came_through(world: World):
    root = User.objects.create_superuser("root")
    provider = IdentityProvider.objects.create(
        name="staff", issuer="https://staff.example", client_id="c"
    )
    token = by_console(through(root, provider))
    assert works(token)

    IdentityProvider.objects.filter(pk=provider.pk).update(enabled=False)

    assert not works(token)


# Over a real socket


def ask(gateway: LiveGateway, path: str, token: str, **options: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}", **options.pop("headers", {})}
    method = options.pop("method", "GET")
    return httpx.request(method, f"{gateway.root_url}{path}", headers=headers, **options)


def test_keys_and_tokens_open_nothing_of_each_others(gateway: LiveGateway, acme: Customer):
    _, secret = api_tokens.create(OPERATOR, "t", ["*"])

    here = ask(gateway, "/api/v1/keys", acme.secret)
    there = ask(gateway, "/v1/models", secret.reveal())

    assert (here.status_code, here.json()["code"]) == (401, "invalid_token")
    assert (there.status_code, there.json()["error"]["code"]) == (401, "invalid_api_key")
    assert ask(gateway, "/api/v1/keys", secret.reveal()).status_code == 200
    assert here.headers["x-request-id"]


def test_wrong_tokens_count_at_the_address(gateway: LiveGateway, acme: Customer):
    _, secret = api_tokens.create(OPERATOR, "t", ["*"])
    keeper = gateway.worker.state.services.doorkeeper
    keeper.failures = (Rate("requests", 3, "minute"),)
    try:
        answers = [ask(gateway, "/api/v1/keys", "wrong") for _ in range(5)]
        late = ask(gateway, "/api/v1/keys", secret.reveal())
    finally:
        keeper.failures = ()

    assert [answer.status_code for answer in answers][:3] == [401, 401, 401]
    assert answers[-1].status_code == late.status_code == 429
    assert late.json()["code"] == "rate_limit_exceeded"
    assert late.headers["content-type"] == "application/problem+json"


def test_each_token_has_a_limit_of_its_own(gateway: LiveGateway, acme: Customer, settings):
    settings.API_LIMITS = (Rate("requests", 2, "day"),)
    first, second = (api_tokens.create(OPERATOR, "t", ["*"])[1].reveal() for _ in range(2))

    answers = [ask(gateway, "/api/v1/keys", first) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert "of this API token" in answers[-1].json()["detail"]
    assert answers[-1].headers["retry-after"]
    assert ask(gateway, "/api/v1/keys", second).status_code == 200


def test_a_large_body_is_refused_before_it_is_read(gateway: LiveGateway, acme: Customer):
    _, secret = api_tokens.create(OPERATOR, "t", ["*"])
    large = b'{"name": "' + b"x" * 2**20 + b'"}'

    declared = ask(gateway, "/api/v1/keys", secret.reveal(), method="POST", content=large)
    chunked = ask(gateway, "/api/v1/keys", secret.reveal(), method="POST", content=iter([large]))

    assert declared.status_code == chunked.status_code == 413
    assert declared.json()["code"] == chunked.json()["code"] == "request_too_large"


def test_unknown_routes_answer_problems_to_those_with_a_token(gateway: LiveGateway, acme: Customer):
    _, secret = api_tokens.create(OPERATOR, "t", ["*"])

    known = [
        ask(gateway, f"/api/v1{path}", secret.reveal()) for path in ("", "/", "/nothing", "/keys/")
    ]

    assert {answer.status_code for answer in known} == {404}
    assert {answer.json()["code"] for answer in known} == {"not_found"}
    assert ask(gateway, "/api/v1/nothing", "x").status_code == 401
    assert ask(gateway, "/api/v1/docs/", "x").status_code == 200
    assert ask(gateway, "/api/v1/openapi.yaml", "x").status_code == 200
