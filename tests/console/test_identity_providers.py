"""People sign in through OpenID Connect: against a real provider, as it runs in a process of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from gateway_project.lib import clock
from gateway_project.lib.secret import Secret
from tenants.models import (
    ApiKey,
    ExternalIdentity,
    IdentityDomain,
    IdentityProvider,
    Membership,
    Tenant,
)
from tenants.sign_in import identities, oidc, sessions
from tests.console import world as worlds
from tests.console.pages import text, url
from tests.console.world import World
from tests.support import identity_provider
from tests.support.identity_provider import Provider

pytestmark = pytest.mark.django_db

SECRET = "client-secret-of-the-console"


@pytest.fixture(scope="module")
def real() -> Iterator[Provider]:
    with identity_provider.running() as provider:
        yield provider


@pytest.fixture(autouse=True)
def nobody_tried_yet() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a tenant's provider be on this machine, which nothing else in the gateway would."""
    given = identities.client_of
    monkeypatch.setattr(
        identities,
        "client_of",
        lambda provider: dataclasses.replace(given(provider), allow_private=True),
    )


def platforms(real: Provider) -> IdentityProvider:
    provider = IdentityProvider(
        name="Staff", issuer=real.issuer, client_id="console", allow_private_network=True
    )
    identities.set_secret(provider, Secret(SECRET))
    provider.full_clean()
    provider.save()
    return provider


def tenants(real: Provider, tenant: Tenant, **fields: Any) -> IdentityProvider:
    provider = IdentityProvider(
        tenant=tenant, name="Acme", issuer=real.issuer, client_id="console", **fields
    )
    identities.set_secret(provider, Secret(SECRET))
    provider.save()
    return provider


def leave(browser: Client, provider: IdentityProvider, target: str = "") -> str:
    answer = browser.get(reverse("identity_login", args=(provider.pk,)), {"next": target})
    assert answer.status_code == 302, answer.content.decode()
    return answer["Location"]


def sign_in(
    browser: Client, real: Provider, provider: IdentityProvider, subject: str, target: str = ""
) -> Any:
    back = real.authorize(leave(browser, provider, target), subject)
    return browser.get(back.removeprefix("http://testserver"))


def is_signed_in(browser: Client) -> bool:
    """Ask for the lightest of what is shown to those alone who are let in."""
    return browser.get("/console/jsi18n/").status_code == 200


def test_an_operator_signs_in_through_the_platforms_provider(real: Provider, operator: Client):
    provider = platforms(real)
    form = {"issuer": real.issuer, "subject": "grace", "user": User.objects.get().pk}
    assert operator.post(url(ExternalIdentity, "add"), form).status_code == 302
    browser = Client()
    assert "Sign in through Staff" in browser.get(reverse("account_login")).content.decode()

    assert sign_in(browser, real, provider, "grace", "/console/tenants/").status_code == 302

    assert browser.get(url(IdentityProvider, "changelist")).status_code == 200
    assert browser.get("/console/auth/user/").status_code == 200


def test_nobody_is_found_by_their_mail_address_or_name(real: Provider, db: None):
    User.objects.create_superuser("ada@example.com", "ada@example.com", "a password")
    provider = platforms(real)
    real.know("stranger", email="ada@example.com", preferred_username="ada@example.com")
    browser = Client()

    refused = sign_in(browser, real, provider, "stranger")

    assert refused.status_code == 403
    assert "does not know you yet" in refused.content.decode()
    assert not is_signed_in(browser)
    assert not ExternalIdentity.objects.exists()


def test_members_are_made_with_the_role_of_their_group_and_follow_it(
    real: Provider, world: World, at_home: None
):
    provider = tenants(
        real,
        world.ours.tenant,
        creates_members=True,
        group_claim="groups",
        group_roles={"engineers": "developer", "bosses": "owner"},
        maximum_role="developer",
    )

    def role_of(subject: str, *groups: str) -> str | None:
        real.know(subject, email=f"{subject}@acme.example", groups=list(groups))
        sign_in(Client(), real, provider, subject)
        identity = ExternalIdentity.objects.filter(subject=subject).first()
        if identity is None:
            return None
        member = Membership.objects.filter(user=identity.user, tenant=world.ours.tenant).first()
        return member.role if member else ""

    assert role_of("linus", "gardeners") is None
    assert role_of("linus", "engineers") == "developer"
    assert role_of("linus", "bosses") == "developer"  # never above the maximum
    assert role_of("linus", "gardeners") == ""  # and out with the group
    assert role_of("linus", "engineers") == ""  # somebody has to take them in again
    assert User.objects.get(external_identities__subject="linus").has_usable_password() is False


def test_a_session_of_a_tenants_provider_has_rights_in_that_tenant_alone(
    real: Provider, world: World, at_home: None
):
    """Try a member of another tenant and an operator, too."""
    user = User.objects.create_user("bea", password="x", is_staff=True)
    Membership.objects.create(user=user, tenant=world.ours.tenant, role="admin")
    Membership.objects.create(user=user, tenant=world.theirs.tenant, role="owner")
    ExternalIdentity.objects.create(issuer=real.issuer, subject="bea", user=user)
    provider = tenants(real, world.ours.tenant)
    browser = Client()

    assert sign_in(browser, real, provider, "bea").status_code == 302
    page = browser.get(url(ApiKey, "changelist")).content.decode()
    assert str(world.ours.key.public_id) in page
    assert str(world.theirs.key.public_id) not in page
    assert browser.get(url(world.theirs.key, "change")).status_code == 404

    user.is_superuser = True
    user.save()
    assert browser.get("/console/auth/user/", follow=True).status_code == 403
    assert browser.get(url(ApiKey, "changelist"), follow=True).status_code == 403
    assert browser.get("/console/").content.decode().count("public_id") == 0


def test_such_a_session_cannot_change_how_the_person_signs_in(
    real: Provider, world: World, at_home: None
):
    """A tenant's provider says who somebody is in the tenant; it may not take over their account."""
    user = User.objects.create_superuser("root", password="a password")
    Membership.objects.create(user=user, tenant=world.ours.tenant, role="viewer")
    ExternalIdentity.objects.create(issuer=real.issuer, subject="root", user=user)
    browser = Client()
    sign_in(browser, real, tenants(real, world.ours.tenant), "root")

    for page in (
        "mfa_activate_totp",
        "mfa_add_webauthn",
        "account_change_password",
        "console_sessions",
        "account_reauthenticate",
    ):
        assert browser.get(reverse(page)).status_code == 403, page
        assert browser.post(reverse(page), {"code": "1"}).status_code == 403, page


def test_a_session_ends_with_its_provider(real: Provider, world: World, at_home: None):
    user = User.objects.create_user("bea", is_staff=True)
    Membership.objects.create(user=user, tenant=world.ours.tenant, role="viewer")
    ExternalIdentity.objects.create(issuer=real.issuer, subject="bea", user=user)
    provider = tenants(real, world.ours.tenant)
    browser = Client()
    sign_in(browser, real, provider, "bea")
    assert browser.get(url(ApiKey, "changelist")).status_code == 200

    IdentityProvider.objects.update(enabled=False)

    assert browser.get(url(ApiKey, "changelist"), follow=True).status_code == 403
    assert Client().get(reverse("identity_login", args=(provider.pk,))).status_code == 404


def test_a_password_sign_in_is_not_bound_by_a_mark_of_somebody_else(
    real: Provider, world: World, at_home: None
):
    ExternalIdentity.objects.create(
        issuer=real.issuer, subject="bea", user=User.objects.create_user("bea", is_staff=True)
    )
    provider = tenants(real, world.ours.tenant)
    User.objects.create_superuser("ada", password="a password")
    browser = Client()
    assert (
        sign_in(browser, real, provider, "bea").status_code == 403
    )  # no member: nothing is marked
    browser.post(reverse("account_login"), {"login": "ada", "password": "a password"})

    assert browser.get("/console/auth/user/").status_code == 200


def test_a_tenant_can_demand_its_identity_provider(real: Provider, world: World, at_home: None):
    user = User.objects.create_user("bea", password="a password", is_staff=True)
    Membership.objects.create(user=user, tenant=world.ours.tenant, role="viewer")
    ExternalIdentity.objects.create(issuer=real.issuer, subject="bea", user=user)
    provider = tenants(real, world.ours.tenant)
    Tenant.objects.filter(pk=world.ours.tenant.pk).update(requires_identity_provider=True)
    by_password, by_provider = Client(), Client()
    by_password.post(reverse("account_login"), {"login": "bea", "password": "a password"})

    told = by_password.get(url(ApiKey, "changelist"), follow=True)
    rotation = {"action": "rotate", "_selected_action": world.ours.key.pk}
    assert f"Sign in through {provider.name}" in told.content.decode()
    assert by_password.post(url(ApiKey, "changelist"), rotation).status_code == 302
    assert world.ours.key.secrets.count() == 1
    sign_in(by_provider, real, provider, "bea")
    assert by_provider.get(url(ApiKey, "changelist")).status_code == 200


def test_a_confirmation_is_a_new_sign_in_at_the_provider(
    real: Provider, world: World, at_home: None, monkeypatch: pytest.MonkeyPatch
):
    user = User.objects.create_user("bea", is_staff=True)
    Membership.objects.create(user=user, tenant=world.ours.tenant, role="admin")
    ExternalIdentity.objects.create(issuer=real.issuer, subject="bea", user=user)
    provider = tenants(real, world.ours.tenant)
    browser = Client()
    sign_in(browser, real, provider, "bea")
    session = browser.session
    session[sessions.PROVEN] = 0  # as if the sign-in were long ago
    session.save()

    asked = browser.post(url(ApiKey, "add"), {})
    assert asked["Location"].startswith(reverse("identity_login", args=(provider.pk,)))
    away = browser.get(asked["Location"])["Location"]
    assert parse_qs(urlsplit(away).query)["prompt"] == ["login"]
    back = browser.get(real.authorize(away, "bea").removeprefix("http://testserver"))
    assert back["Location"] == url(ApiKey, "add")
    assert browser.post(url(ApiKey, "add"), {}).status_code == 200

    # A provider that did not ask again says when it last did, which is then too long ago.
    later = clock.timestamp() + 12 * 60
    monkeypatch.setattr(clock, "timestamp", lambda: later)
    away = browser.get(asked["Location"])["Location"]
    back = browser.get(real.authorize(away, "bea").removeprefix("http://testserver"))
    assert "did not ask you to sign in again" in back.content.decode()


def test_a_domain_leads_to_its_tenant_once_an_operator_confirmed_it(
    real: Provider, world: World, operator: Client
):
    provider = tenants(Provider("https://login.example"), world.ours.tenant)
    owner = worlds.staff("owner", world.ours.tenant)
    login = {"email": "ada@acme.example"}
    fields = {
        "name": "Acme",
        "client_id": "console",
        "maximum_role": "developer",
        "domains-TOTAL_FORMS": "1",
        "domains-INITIAL_FORMS": "0",
        "domains-0-domain": "acme.example",
        "domains-0-confirmed": "on",
        "enabled": "on",
    }
    assert owner.post(url(provider, "change"), fields).status_code == 302
    row = IdentityDomain.objects.get()
    assert row.confirmed is False
    assert Client().post(reverse("find_provider"), login).status_code == 404

    confirmed = fields | {
        "domains-INITIAL_FORMS": "1",
        "domains-0-id": row.pk,
        "domains-0-provider": str(provider.pk),
    }
    assert operator.post(url(provider, "change"), confirmed).status_code == 302
    page = Client().post(reverse("find_provider"), login).content.decode()
    assert reverse("identity_login", args=(provider.pk,)) in page
    second = IdentityDomain(provider=tenants(real, world.theirs.tenant), domain=row.domain)
    second.confirmed = True
    with pytest.raises(IntegrityError), transaction.atomic():
        second.save()


def test_owners_give_away_no_more_than_they_have_and_keep_private_networks_to_operators(
    real: Provider, world: World
):
    owner, admin = (
        worlds.staff("owner", world.ours.tenant),
        worlds.staff("admin", world.ours.tenant),
    )
    form = {
        "name": "New",
        "issuer": "https://login.example",
        "client_id": "x",
        "secret": SECRET,
        "maximum_role": "owner",
        "group_roles_owner": "bosses",
        "group_roles_viewer": "all\nbosses",
        "allow_private_network": "on",
        "domains-TOTAL_FORMS": "0",
        "domains-INITIAL_FORMS": "0",
    }
    assert admin.post(url(IdentityProvider, "add"), form).status_code == 403
    refused = text(owner.post(url(IdentityProvider, "add"), form))
    assert "is given two roles." in refused
    form["group_roles_viewer"] = "all"
    assert owner.post(url(IdentityProvider, "add"), form).status_code == 302
    row = IdentityProvider.objects.get(name="New")
    assert (row.tenant, row.allow_private_network) == (world.ours.tenant, False)
    assert SECRET not in str(IdentityProvider.objects.values())
    assert SECRET not in owner.get(url(row, "change")).content.decode()
    row.allow_private_network = True
    with pytest.raises(ValidationError):
        row.full_clean()
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save()


def test_a_tenants_provider_is_not_reached_on_the_operators_network(real: Provider, world: World):
    provider = tenants(real, world.ours.tenant)
    answer = Client().get(reverse("identity_login", args=(provider.pk,)))
    assert answer.status_code == 403
    assert "egress policy refuses" in answer.content.decode()


def test_an_answer_counts_once_for_the_browser_that_asked(real: Provider, operator: Client):
    provider = platforms(real)
    ExternalIdentity.objects.create(
        issuer=real.issuer, subject="grace", user=User.objects.get(username="operator")
    )
    asker, thief = Client(), Client()
    back = real.authorize(leave(asker, provider), "grace").removeprefix("http://testserver")

    assert thief.get(back).status_code == 403
    assert asker.get(back + "x").status_code in {302, 403}
    assert asker.get(back).status_code == 403  # whatever it was, it is over
    leave(asker, provider)
    wrong_state = asker.get(back)
    assert "belongs to another sign-in" in wrong_state.content.decode()


Forge = Callable[[dict[str, Any]], str]


@pytest.fixture
def forged(monkeypatch: pytest.MonkeyPatch, real: Provider) -> Forge:
    """Return what is said of an ID token with these claims; the provider signs it unless told otherwise."""
    own = ec.generate_private_key(ec.SECP256R1())
    client = oidc.Client("https://issuer.example", "console", None, allow_private=False)
    pending = oidc.PendingSignIn(
        "p",
        client.issuer,
        "s",
        "the nonce",
        "v",
        "https://t",
        "https://j",
        clock.timestamp(),
        "",
        False,
    )

    def judge(claims: dict[str, Any]) -> str:
        algorithm = claims.pop("alg", "ES256")
        signing: Any = own if algorithm == "ES256" else ("" if algorithm == "none" else "x" * 40)
        full = {
            "iss": client.issuer,
            "sub": "ada",
            "aud": "console",
            "exp": clock.timestamp() + 60,
            "iat": clock.timestamp(),
            "nonce": "the nonce",
        } | claims
        full = {name: value for name, value in full.items() if value is not None}
        token = jwt.encode(full, signing, algorithm=algorithm)
        published = jwt.algorithms.ECAlgorithm.to_jwk(own.public_key(), as_dict=True)
        monkeypatch.setattr(oidc, "fetch_json", lambda *_args, **_options: {"keys": [published]})
        try:
            return str(oidc.verify(client, pending, token)["sub"])
        except oidc.IdentityRefused as error:
            return f"refused: {error}"

    return judge


def test_a_link_of_another_site_puts_nobody_into_another_account(
    real: Provider, world: World, at_home: None
):
    user = User.objects.create_user("bea", is_staff=True)
    Membership.objects.create(user=user, tenant=world.ours.tenant, role="viewer")
    ExternalIdentity.objects.create(issuer=real.issuer, subject="bea", user=user)
    provider = tenants(real, world.ours.tenant)
    operator = worlds.operator()

    asked = operator.get(
        reverse("identity_login", args=(provider.pk,)), headers={"sec-fetch-site": "cross-site"}
    )
    assert "Go to Acme" in asked.content.decode()
    refused = sign_in(operator, real, provider, "bea")
    assert "Sign out first" in refused.content.decode()
    assert operator.get("/console/auth/user/").status_code == 200  # still the operator


def test_an_id_token_counts_if_everything_in_it_is_right(forged: Forge):
    assert forged({}) == "ada"
    wrong: list[dict[str, Any]] = [
        {"alg": "none"},
        {"alg": "HS256"},
        {"iss": "https://other.example"},
        {"aud": "another client"},
        {"aud": ["console", "other"], "azp": "other"},
        {"exp": clock.timestamp() - 3600},
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 256},
        {"exp": None},
    ]
    for claims in wrong:
        assert forged(dict(claims)).startswith("refused"), claims


def test_rotated_keys_open_the_clients_secret(real: Provider, db: None):
    provider = platforms(real)
    before = provider.sealed_secret
    call_command("rotate_secrets", "--new-key", verbosity=0)
    provider.refresh_from_db()
    assert provider.sealed_secret != before
    client = identities.client_of(provider)
    assert client.secret is not None
    assert client.secret.reveal() == SECRET
