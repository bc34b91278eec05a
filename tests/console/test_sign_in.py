"""People sign in to the console: passwords, second factors, sessions, and what asks for a confirmation."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    format_hotp_value,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.contrib.auth.models import User
from django.core import mail
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.test import Client
from django.urls import include, path, reverse

from gateway_project import urls
from gateway_project.lib import clock
from tenants.models import ApiKey, ApiToken, ConsoleSession, CustomRole, Invitation, Membership
from tenants.sign_in import slowdown
from tenants.sign_in import urls as sign_in_urls
from tests.console import world as worlds
from tests.console.pages import action_address, key_form, url
from tests.console.world import World

# The routes where TOLLGATE_SMTP_URL is set, for one test.
urlpatterns = [path("console/accounts/", include(sign_in_urls.RESET)), *urls.urlpatterns]

PASSWORD = "correct horse battery"
LOGIN = "/console/accounts/login/"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nobody_guessed_yet(settings: Any) -> Iterator[None]:
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.MD5PasswordHasher"
    ]  # tests sign in often
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds somebody was made to wait, none of which pass."""
    seconds: list[float] = []

    class Wait:
        def wait(self, timeout: float) -> None:
            seconds.append(timeout)

    monkeypatch.setattr(slowdown, "wait", Wait())
    return seconds


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_superuser("ada", "ada@example.com", PASSWORD)


def sign_in(
    client: Client, username: str = "ada", password: str = PASSWORD, **extra: Any
) -> HttpResponse:
    return client.post(LOGIN, {"login": username, "password": password}, **extra)  # type: ignore[return-value]


def is_signed_in(client: Client) -> bool:
    """Ask for the lightest of what is shown to those alone who are let in."""
    return client.get("/console/jsi18n/").status_code == 200


def code_of(secret: str) -> str:
    return format_hotp_value(hotp_value(secret, list(yield_hotp_counters_from_time())[1]))


def set_up_totp(client: Client) -> str:
    """Turn an authenticator app on, as a person does, and return its secret."""
    page = client.get(reverse("mfa_activate_totp")).content.decode()
    secret = re.search(r'authenticator_secret">(\w+)<', page)
    assert secret
    answer = client.post(reverse("mfa_activate_totp"), {"code": code_of(secret[1])})
    assert answer.status_code == 302, answer.content.decode()
    return secret[1]


def pass_minutes(monkeypatch: pytest.MonkeyPatch, minutes: float) -> None:
    now = clock.timestamp() + minutes * 60
    monkeypatch.setattr(clock, "timestamp", lambda: now)


# Passwords


def test_people_sign_in_with_their_user_name_and_are_led_where_they_wanted(world: World):
    user = User.objects.create_user("bea", password=PASSWORD, is_staff=True)
    Membership.objects.create(user=user, tenant=world.ours.tenant, role="viewer")
    browser = Client()

    refused = browser.get(url(ApiKey, "changelist"), follow=True)
    assert refused.redirect_chain[-1][0].startswith(LOGIN)
    assert sign_in(browser, "bea", "wrong").status_code == 200
    answer = browser.post(
        LOGIN, {"login": "bea", "password": PASSWORD, "next": url(ApiKey, "changelist")}
    )
    assert answer["Location"] == url(ApiKey, "changelist")
    assert browser.get(answer["Location"]).status_code == 200


def test_a_sign_in_leads_to_no_other_site(ada: User):
    browser = Client()
    browser.cookies.load({})
    answer = browser.post(
        LOGIN, {"login": "ada", "password": PASSWORD, "next": "https://gateway/x"}
    )
    assert "gateway/x" not in answer["Location"].replace("%2F", "/")


def test_who_has_no_membership_is_told_so(db: None):
    User.objects.create_user("eve", password=PASSWORD)
    browser = Client()
    sign_in(browser, "eve")

    answer = browser.get("/console/", follow=True)

    assert answer.status_code == 403
    assert "no tenant has made you a member" in answer.content.decode()


def test_there_is_no_sign_up_and_nothing_else_of_allauth(db: None):
    paths = ("signup/", "email/", "password/set/", "login/code/", "3rdparty/", "password/reset/")
    stranger, operator = Client(), worlds.operator()
    for address in (f"/console/accounts/{part}" for part in paths):
        assert stranger.post(address)["Location"].startswith("/console/login/"), address
        assert operator.get(address).status_code == 404, address
    assert "Forgot" not in Client().get(LOGIN).content.decode()  # needs a mail server


def test_guesses_are_slowed_down_but_the_owner_gets_in(ada: User, waited: list[float]):
    known, guessers = Client(), [Client(REMOTE_ADDR=f"203.0.113.{n}") for n in range(20)]
    sign_in(known)
    known.post("/console/logout/")

    refused = [sign_in(guesser, password="wrong") for guesser in guessers]

    assert all(not is_signed_in(guesser) for guesser in guessers)
    assert waited, "guesses from many addresses do not wait"
    assert max(waited) <= slowdown.LONGEST_WAIT_SECONDS
    assert "Too many attempts" in refused[-1].content.decode()  # they all came within a moment
    for _ in range(12):  # and from its own address, as from behind one router
        sign_in(Client(REMOTE_ADDR="127.0.0.1"), password="wrong")
    assert "Too many attempts" in sign_in(Client()).content.decode()
    waited.clear()
    assert sign_in(known).status_code == 302  # a browser that was here before does not queue
    assert waited == []


def test_the_owner_gets_in_from_a_new_browser_when_the_guesses_are_over(
    ada: User, waited: list[float], monkeypatch: pytest.MonkeyPatch
):
    for n in range(8):
        sign_in(Client(REMOTE_ADDR=f"203.0.113.{n}"), password="wrong")
    pass_minutes(monkeypatch, 0.5)

    assert sign_in(Client(REMOTE_ADDR="198.51.100.1")).status_code == 302


def test_a_cookie_of_another_account_lets_nobody_pass_the_queue(
    ada: User, waited: list[float], operator: Client
):
    mallory = User.objects.create_user("mallory", password=PASSWORD, is_staff=True)
    browser = Client()
    sign_in(browser, mallory.username)
    browser.post("/console/logout/")  # also for who may see nothing
    assert "_auth_user_id" not in browser.session
    for n in range(7):
        sign_in(Client(REMOTE_ADDR=f"203.0.113.{n}"), password="wrong")
    waited.clear()

    sign_in(browser, password="wrong")

    assert waited


def test_what_a_client_says_of_its_address_is_not_believed(ada: User):
    browser = Client(REMOTE_ADDR="203.0.113.9")
    answers = [
        sign_in(browser, f"user{n}", "wrong", HTTP_X_FORWARDED_FOR=f"198.51.100.{n}")
        for n in range(12)
    ]
    assert "Too many attempts" in answers[-1].content.decode()


def test_a_forgotten_password_is_replaced_by_a_link_that_works_once(
    ada: User, route_by: Callable[[str], None]
):
    route_by(__name__)  # as with TOLLGATE_SMTP_URL
    thief, browser = Client(), Client()
    sign_in(thief)
    reset = reverse("account_reset_password")
    assert reset in browser.get(LOGIN).content.decode()
    assert browser.post(reset, {"email": "nobody@example.com"}).status_code == 302
    assert mail.outbox == []  # and the answer is the same
    assert browser.post(reset, {"email": "ada@example.com"}).status_code == 302
    (sent,) = mail.outbox
    assert sent.to == ["ada@example.com"]
    link = re.search(r"http://testserver(\S+)", str(sent.body))
    assert link

    new = {"password1": "quite another one", "password2": "quite another one"}
    page = browser.get(link[1], follow=True)
    browser.post(page.redirect_chain[-1][0], new)

    assert not is_signed_in(thief)
    assert sign_in(Client(), password="quite another one").status_code == 302
    assert "link was invalid" in Client().get(link[1]).content.decode()


def test_a_session_ends_everywhere_else_when_the_password_changes(ada: User):
    here, there = Client(), Client()
    sign_in(here)
    sign_in(there)
    form = {
        "oldpassword": PASSWORD,
        "password1": "another good one",
        "password2": "another good one",
    }

    assert here.post(reverse("account_change_password"), form).status_code == 302

    assert is_signed_in(here)
    assert not is_signed_in(there)
    assert ConsoleSession.objects.filter(user=ada).count() == 1


def test_who_has_no_password_is_not_given_one(operator: Client):
    """They came by an identity provider: a password would outlive what it says of them."""
    answer = operator.get(reverse("account_change_password"), follow=True)
    assert "You sign in without a password" in answer.content.decode()
    form = {"password1": "a new password", "password2": "a new password"}
    assert operator.post(reverse("account_change_password"), form).status_code == 302
    assert not User.objects.get(username="operator").has_usable_password()


# Second factors


def test_an_operator_is_offered_a_second_factor_and_may_wait(ada: User):
    browser = Client()
    offer = sign_in(browser)
    assert offer["Location"].startswith(reverse("second_factor"))
    assert "Set up an authenticator app" in browser.get(offer["Location"]).content.decode()

    assert browser.post(offer["Location"])["Location"] == "/console/"
    browser.post("/console/logout/")
    assert sign_in(browser)["Location"] == "/console/"  # not asked again here
    assert sign_in(Client())["Location"] != "/console/"


def test_a_code_is_demanded_once_an_app_is_set_up(ada: User):
    browser, other = Client(), Client()
    sign_in(browser)
    sign_in(other)
    secret = set_up_totp(browser)
    assert not is_signed_in(other)  # began without it

    assert sign_in(other)["Location"] == reverse("mfa_authenticate")
    assert not is_signed_in(other)
    assert other.post(reverse("mfa_authenticate"), {"code": "000000"}).status_code == 200
    assert not is_signed_in(other)
    cache.clear()  # the code was used a moment ago
    assert other.post(reverse("mfa_authenticate"), {"code": code_of(secret)}).status_code == 302
    assert is_signed_in(other)


def test_a_code_works_once(ada: User):
    browser = Client()
    sign_in(browser)
    secret = set_up_totp(browser)
    first, second = Client(), Client()
    sign_in(first)
    sign_in(second)
    code = code_of(secret)

    assert first.post(reverse("mfa_authenticate"), {"code": code}).status_code == 302
    assert second.post(reverse("mfa_authenticate"), {"code": code}).status_code == 200
    assert not is_signed_in(second)


def test_a_recovery_code_stands_in_once(ada: User):
    browser = Client()
    sign_in(browser)
    set_up_totp(browser)
    page = browser.get(reverse("mfa_view_recovery_codes")).content.decode()
    code = re.findall(r"<li><code>(\d+)</code>", page)[0]

    for may_pass in (True, False):
        other = Client()
        sign_in(other)
        other.post(reverse("mfa_authenticate"), {"code": code})
        assert is_signed_in(other) is may_pass


def test_nothing_secret_of_a_second_factor_lies_in_the_database(ada: User):
    browser = Client()
    sign_in(browser)
    page = browser.get(reverse("mfa_activate_totp")).content.decode()
    secret = re.search(r'authenticator_secret">(\w+)<', page)
    assert secret
    assert secret[1] not in str(list(ConsoleSession.objects.values()))
    browser.post(reverse("mfa_activate_totp"), {"code": code_of(secret[1])})

    rows = {row.type: row for row in Authenticator.objects.all()}
    assert set(rows) == {"totp", "recovery_codes"}
    assert rows["totp"].data["secret"].startswith("v1.")
    assert rows["recovery_codes"].data["seed"].startswith("v1.")
    assert secret[1] not in str(list(Authenticator.objects.values()))


def test_a_secret_that_was_copied_to_another_person_does_not_open(ada: User):
    """A writer to the database cannot make their own app stand for somebody else's."""
    mine, theirs = Client(), Client(raise_request_exception=False)
    sign_in(mine)
    secret = set_up_totp(mine)
    User.objects.create_superuser("bob", password=PASSWORD)
    own = Authenticator.objects.get(user=ada, type="totp")
    Authenticator.objects.create(
        user=User.objects.get(username="bob"), type="totp", data=dict(own.data)
    )
    cache.clear()

    sign_in(theirs, "bob")
    answer = theirs.post(reverse("mfa_authenticate"), {"code": code_of(secret)})

    assert answer.status_code >= 400
    assert not is_signed_in(theirs)


def test_rotated_keys_open_second_factors_and_break_no_sign_in(ada: User):
    browser = Client()
    sign_in(browser)
    secret = set_up_totp(browser)
    before = Authenticator.objects.get(type="totp").data["secret"]

    call_command("rotate_secrets", "--new-key", "--json", stdout=StringIO())

    assert Authenticator.objects.get(type="totp").data["secret"] != before
    assert is_signed_in(browser)
    cache.clear()
    other = Client()
    sign_in(other)
    assert other.post(reverse("mfa_authenticate"), {"code": code_of(secret)}).status_code == 302


def test_break_glass_takes_the_second_factor_away_and_ends_the_sessions(ada: User):
    browser = Client()
    sign_in(browser)
    set_up_totp(browser)
    out = StringIO()

    call_command("reset_second_factor", "ada", "--json", stdout=out)

    assert json.loads(out.getvalue()) == {"username": "ada", "removed": 2}
    assert not is_signed_in(browser)
    sign_in(browser)
    assert is_signed_in(browser)
    with pytest.raises(CommandError, match="nobody with the user name 'nobody'"):
        call_command("reset_second_factor", "nobody")


def test_an_operator_made_by_the_command_signs_in(db: None):
    out = StringIO()
    call_command("create_operator", "grace", "--json", stdout=out)
    made = json.loads(out.getvalue())
    browser = Client()

    assert sign_in(browser, "grace", made["password"]).status_code == 302
    assert is_signed_in(browser)


def test_a_tenant_that_demands_a_second_factor_stays_shut_until_there_is_one(world: World):
    user = User.objects.create_user("bea", password=PASSWORD, is_staff=True)
    Membership.objects.create(user=user, tenant=world.ours.tenant, role="admin")
    browser = Client()
    sign_in(browser, "bea")
    key = url(ApiKey, "changelist")
    assert "ours" in browser.get(key).content.decode()
    world.ours.tenant.requires_second_factor = True
    world.ours.tenant.save()

    assert browser.get(key)["Location"] == reverse("second_factor")
    assert "Later" not in browser.get(reverse("second_factor")).content.decode()
    rotation = {"action": "rotate", "_selected_action": world.ours.key.pk}
    led = browser.post(key, rotation, follow=True)
    assert led.redirect_chain[-1][0] == reverse("second_factor")
    assert world.ours.key.secrets.count() == 1
    assert browser.get("/console/")["Location"] == reverse("second_factor")
    set_up_totp(browser)
    assert "ours" in browser.get(key).content.decode()


def test_owners_alone_say_what_signing_in_to_their_tenant_takes(world: World):
    tenant = world.ours.tenant
    form = {"name": "x", "time_zone": "UTC", "retention_days": 30, "requires_second_factor": "on"}
    for role, changes in (("admin", False), ("owner", True)):
        worlds.staff(role, tenant).post(url(tenant, "change"), form)
        tenant.refresh_from_db()
        assert (tenant.name, tenant.requires_second_factor) == ("x", changes), role


def test_other_tenants_stay_open_beside_one_that_demands_more(world: World):
    user = User.objects.create_user("bea", password=PASSWORD, is_staff=True)
    for tenant in (world.ours.tenant, world.theirs.tenant):
        Membership.objects.create(user=user, tenant=tenant, role="admin")
    world.theirs.tenant.requires_second_factor = True
    world.theirs.tenant.save()
    browser = Client()
    sign_in(browser, "bea")

    assert browser.get("/console/")["Location"] == reverse("second_factor")  # told once
    assert "Later" in browser.get(reverse("second_factor")).content.decode()
    page = browser.get(url(ApiKey, "changelist")).content.decode()
    assert str(world.ours.key.public_id) in page
    assert str(world.theirs.key.public_id) not in page


def test_passkeys_are_offered_on_host_names_only(ada: User):
    named, numbered, plain = (
        Client(SERVER_NAME="localhost"),
        Client(SERVER_NAME="127.0.0.1"),
        Client(SERVER_NAME="gateway"),
    )
    assert "Sign in with a passkey" in named.get(LOGIN).content.decode()
    for browser, why in ((numbered, "belong to a host name"), (plain, "Passkeys need https")):
        assert "Sign in with a passkey" not in browser.get(LOGIN).content.decode()
        sign_in(browser)
        assert why in browser.get(reverse("mfa_index")).content.decode()


# Sessions


def test_a_session_ends_when_it_is_idle_and_at_its_fixed_end(
    ada: User, monkeypatch: pytest.MonkeyPatch
):
    start = clock.timestamp()
    idle, busy = Client(), Client()
    sign_in(idle)
    sign_in(busy)
    for minutes in range(20, 12 * 60, 20):
        monkeypatch.setattr(clock, "timestamp", lambda at=start + minutes * 60: at)
        assert is_signed_in(busy), minutes
    assert not is_signed_in(idle)
    monkeypatch.setattr(clock, "timestamp", lambda: start + 12 * 60 * 60 + 1)
    assert not is_signed_in(busy)


def test_people_see_their_sessions_and_end_them(ada: User):
    here = Client(REMOTE_ADDR="203.0.113.5", HTTP_USER_AGENT="Firefox/1")
    there = Client(REMOTE_ADDR="198.51.100.7", HTTP_USER_AGENT="Stolen/2")
    stranger = worlds.staff("nobody")
    sign_in(here)
    sign_in(there)

    page = here.get(reverse("console_sessions")).content.decode()
    assert "198.51.100.7" in page
    assert "Stolen/2" in page
    (stolen,) = re.findall(r'name="session" value="(\w{40})"', page)

    stranger.post(reverse("console_sessions"), {"session": stolen})
    assert is_signed_in(there)
    here.post(reverse("console_sessions"), {"session": stolen})
    assert not is_signed_in(there)
    assert is_signed_in(here)


def test_operators_end_anybodys_session_and_nobody_else_sees_them(world: World, ada: User):
    theirs, admin = Client(), worlds.staff("admin", world.ours.tenant)
    sign_in(theirs)
    row = ConsoleSession.objects.get(user=ada)
    operator = worlds.operator()

    assert admin.get(url(ConsoleSession, "changelist")).status_code == 403
    assert row.session_data not in operator.get(url(row, "change")).content.decode()
    assert operator.post(url(row, "delete"), {"post": "yes"}).status_code == 302
    assert not is_signed_in(theirs)


def test_the_database_alone_opens_no_session(ada: User):
    browser = Client()
    sign_in(browser)
    row = ConsoleSession.objects.get(user=ada)

    assert browser.cookies["sessionid"].value not in str(ConsoleSession.objects.values())
    forged = Client()
    forged.cookies["sessionid"] = row.pk
    assert not is_signed_in(forged)
    ConsoleSession.objects.filter(pk=row.pk).update(
        session_key="a" * 40
    )  # moved, its data no longer opens
    assert not is_signed_in(browser)


# Confirmations


def test_a_new_secret_is_shown_to_who_confirms_that_it_is_them(
    world: World, ada: User, monkeypatch: pytest.MonkeyPatch
):
    browser = Client()
    sign_in(browser)
    pass_minutes(monkeypatch, 11)
    form = key_form(tenant=world.ours.tenant.pk, name="asked-twice")

    asked = browser.post(url(ApiKey, "add") + "?tenant=ours", form)

    assert asked["Location"].startswith(reverse("account_reauthenticate"))
    following = parse_qs(urlsplit(asked["Location"]).query)["next"]
    assert not ApiKey.objects.filter(name="asked-twice").exists()
    assert browser.post(asked["Location"], {"password": "wrong"}).status_code == 200
    shown = browser.post(asked["Location"], {"password": PASSWORD, "next": following})
    assert ApiKey.objects.filter(name="asked-twice").exists()
    assert "tg_live_" in shown.content.decode()
    assert browser.post(url(ApiKey, "add"), form | {"name": "soon after"}).status_code == 200
    assert ApiKey.objects.filter(name="soon after").exists()


def test_what_needs_a_confirmation_is_refused_without_one(
    world: World, ada: User, monkeypatch: pytest.MonkeyPatch
):
    browser = Client()
    sign_in(browser)
    pass_minutes(monkeypatch, 11)
    ours = world.ours
    member = Membership.objects.filter(tenant=ours.tenant).first()
    assert member is not None
    posts: list[tuple[str, dict[str, Any]]] = [
        (action_address(ours.key, "rotate"), {}),
        (url(ours.credential, "change"), {}),
        (url(ours.tenant, "delete"), {"slug": ours.tenant.slug}),
        (url(ApiToken, "add"), {"name": "ci", "scopes": "*"}),
        (url(CustomRole, "add"), {"name": "desk"}),
        (url(ours.role, "change"), {"name": "desk"}),
        (url(ours.role, "delete"), {"post": "yes"}),
        (
            url(Invitation, "changelist"),
            {"action": "resend", "_selected_action": ours.invitation.pk},
        ),
        (url(member, "change"), {"role": "viewer"}),
        (url(member, "delete"), {"post": "yes"}),
        (url(User, "add"), {}),
        (f"/console/auth/user/{ada.pk}/password/", {}),
    ]
    for address, form in posts:
        answer = browser.post(address, form)
        assert answer.status_code == 302, address
        assert answer["Location"].startswith(reverse("account_reauthenticate")), address


# Hosts and policy


def test_the_console_answers_on_its_hosts_only(ada: User, settings: Any):
    settings.CONSOLE_HOSTS = ["x"]
    for address in ("/", "/console/", LOGIN, "/console/tenants/"):
        assert Client(SERVER_NAME="gateway").get(address).status_code == 404
        assert Client(SERVER_NAME="x").get(address).status_code in {200, 302}
    assert Client(SERVER_NAME="gateway").get("/v1/nothing").status_code == 404
