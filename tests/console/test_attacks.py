"""Browsers made to do things from outside: forged forms, frames, caches, redirects, hosts, sessions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, include, path, reverse

from gateway_project import urls
from gateway_project.lib.log import JsonFormatter
from tenants.access.access import access_of
from tenants.keys import api_tokens
from tenants.members import invitations, roles
from tenants.models import AuditEvent, ConsoleSession, Membership
from tenants.sign_in import urls as sign_in_urls
from tests.console import world as worlds
from tests.console.pages import url
from tests.console.world import World
from tests.plugins.tiers import sampled

# The routes where TOLLGATE_SMTP_URL is set, for one test.
urlpatterns = [path("console/accounts/", include(sign_in_urls.RESET)), *urls.urlpatterns]

PASSWORD = "correct horse battery"
LOGIN = "/console/accounts/login/"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nobody_guessed_yet() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def ada(db: None, settings: Any) -> User:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return User.objects.create_superuser("ada", "ada@example.com", PASSWORD)


# Forged forms


def console_patterns() -> Iterator[tuple[str, Any]]:
    """Every route of the console, as a path with its arguments filled in, and its view."""
    yield from _walk(get_resolver().url_patterns, "/")


def _walk(patterns: list[Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for each in patterns:
        here = prefix + _filled(str(each.pattern))
        if not here.startswith("/console/") and here != "/":
            continue
        if isinstance(each, URLResolver):
            yield from _walk(each.url_patterns, here)
        elif isinstance(each, URLPattern):
            yield here, each.callback


def _filled(route: str) -> str:
    route = re.sub(r"\(\?P<app_label>([^|)]+)[^)]*\)", r"\1", route)
    route = route.replace("(?P<url>.*)", "nothing").removeprefix("^").removesuffix("$")
    route = re.sub(r"<uuid:\w+>", "00000000-0000-0000-0000-000000000007", route)
    return re.sub(r"<(?:\w+:)?\w+>", "7", route)


def test_no_form_of_the_console_is_taken_from_another_site(world: World):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.create_superuser("root"))
    before = AuditEvent.objects.count(), ConsoleSession.objects.count()
    tried, wrong = 0, []
    patterns = list(console_patterns())
    assert len(patterns) > 5 * len(admin.site._registry)
    wrong += [
        f"{place} is exempt" for place, view in patterns if getattr(view, "csrf_exempt", False)
    ]
    for place, _ in sampled(patterns, default=20, ci=40):
        for headers in ({}, {"origin": "https://evil.example"}):
            answer = browser.post(
                place, {"post": "yes", "action": "delete_selected"}, headers=headers
            )
            tried += 1
            if answer.status_code != 403 or b"The form was refused" not in answer.content:
                wrong.append(f"{place}: {answer.status_code}")
    assert wrong == []
    assert tried >= 2 * 20
    assert (AuditEvent.objects.count(), ConsoleSession.objects.count()) == before


# Redirects

ELSEWHERE = (
    "https://evil.example/", "//evil.example/", "///evil.example/", "/\\evil.example/", "\\\\evil.example",
    "http:evil.example", "https:///evil.example", "javascript:alert(1)", "data:text/html,x",
    "/\t/evil.example", "\t//evil.example", " //evil.example", "//evil.example@testserver/",
    "https://testserver@evil.example/", "https://testserver.evil.example/", "//testserver:80@evil.example",
)  # fmt: skip


def leads_out(location: str) -> bool:
    """Tell whether a browser would leave the console by this address."""
    text = re.sub(r"[\t\r\n]", "", location).strip().replace("\\", "/")
    parts = urlsplit(text)
    return text.startswith("//") or parts.netloc not in {"", "testserver"} or (
        parts.scheme not in {"", "http", "https"}
    )  # fmt: skip


def test_no_address_in_a_request_leads_to_another_site(world: World, ada: User):
    here = worlds.signed_in(ada)
    for target in sampled(ELSEWHERE, default=5, ci=len(ELSEWHERE)):
        stranger = Client()
        form = {"login": "ada", "password": PASSWORD, "next": target}
        answers = [
            stranger.post(LOGIN, form),
            Client().post(LOGIN, {**form, "next": ""}, query_params={"next": target}),
            here.get("/console/login/", {"next": target}),
            here.get(LOGIN, {"next": target}),
            here.post(reverse("second_factor"), {"next": target}),
            here.post(reverse("second_factor"), query_params={"next": target}),
            here.post(reverse("account_reauthenticate"), {"password": PASSWORD, "next": target}),
            Client().post(reverse("admin:logout"), {"next": target}),
            worlds.signed_in(ada).post(reverse("account_logout"), {"next": target}),
        ]
        for answer in answers:
            if answer.status_code in {301, 302, 303, 307, 308}:
                assert not leads_out(answer["Location"]), (target, answer["Location"])
            for found in re.findall(r'href="([^"]*evil[^"]*)"', answer.content.decode()):
                assert not leads_out(found), (target, found)


def test_this_would_find_what_leads_out():
    assert all(map(leads_out, ELSEWHERE[:4]))
    assert not leads_out("/console/?next=//evil.example/")


# Hosts


def test_a_host_that_is_not_ours_stands_in_no_mail(
    ada: User, settings: Any, route_by: Callable[[str], None]
):
    route_by(__name__)
    settings.ALLOWED_HOSTS, settings.SMTP_URL = ["gateway.example"], "smtp://mail.example"
    reset = reverse("account_reset_password")
    told = {"x-forwarded-host": "evil.example", "forwarded": "host=evil.example"}

    asked = Client(SERVER_NAME="gateway.example").post(reset, {"email": ada.email}, headers=told)
    wrong = Client(SERVER_NAME="evil.example").post(reset, {"email": ada.email})

    assert (asked.status_code, wrong.status_code) == (302, 400)
    assert len(mail.outbox) == 1
    assert "http://gateway.example/" in mail.outbox[0].body
    assert "evil" not in mail.outbox[0].body
    assert "evil" not in wrong.content.decode()


# Sessions


def test_a_session_that_was_there_before_is_worth_nothing_after_the_sign_in(ada: User):
    planted = Client()
    session = planted.session
    session["mine"] = "the attacker's"
    session.save()
    before = planted.cookies["sessionid"].value

    assert planted.post(LOGIN, {"login": "ada", "password": PASSWORD}).status_code == 302

    after = planted.cookies["sessionid"].value
    assert after != before
    attacker = Client()
    attacker.cookies["sessionid"] = before
    assert attacker.get("/console/").status_code == 302
    invented = Client()
    invented.cookies["sessionid"] = "a" * 32
    invented.post(LOGIN, {"login": "ada", "password": PASSWORD})
    assert invented.cookies["sessionid"].value != "a" * 32
    planted.post(reverse("admin:logout"))
    again = Client()
    again.cookies["sessionid"] = after
    assert again.get("/console/").status_code == 302


# Errors


def test_a_link_that_lets_somebody_in_is_in_no_log(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """Django names the address of a form that it refuses, and of a page that fails; it is good still."""
    root = User.objects.create_superuser("root")
    _, link = invitations.invite(access_of(root), world.ours.tenant, "viewer", created_by=root)
    place = reverse("accept_invitation", args=(link.reveal(),))
    browser = Client(enforce_csrf_checks=True, raise_request_exception=False)

    assert browser.post(place, {"username": "n"}).status_code == 403
    monkeypatch.setattr(invitations, "find", lambda _token: 1 / 0)
    assert browser.get(place).status_code == 500

    lines = [JsonFormatter().format(record) for record in caplog.records]
    assert [line for line in lines if "Forbidden" in line and "/invitations/***" in line]
    assert [line for line in lines if "Internal Server Error" in line]
    assert [line for line in lines if link.reveal() in line] == []


def test_an_error_of_ours_tells_nothing(world: World, ada: User, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any, **__: Any) -> Any:
        hidden = "canary-in-a-frame"
        raise RuntimeError(f"canary-in-words {hidden} /srv/path/to/code.py")

    monkeypatch.setattr("tenants.reports.audit.filtered", fail)
    token = api_tokens.create(access_of(ada), "t", ["*"], maker_id=ada.pk)[1].reveal()
    browser, program = worlds.signed_in(ada), Client(headers={"authorization": f"Bearer {token}"})
    browser.raise_request_exception = program.raise_request_exception = False

    page = browser.get(url(AuditEvent, "changelist"))
    answer = program.get("/api/v1/audit")

    assert (page.status_code, answer.status_code) == (500, 500)
    for each in (page, answer):
        text = each.content.decode()
        for told in ("canary", "Traceback", "RuntimeError", "/srv/", "Django", "settings"):
            assert told not in text
    assert answer.json()["code"] == "internal_error"


# Rights that change after they were handed on


def test_a_role_that_grows_gives_nothing_to_who_could_not_have_given_it(world: World):
    tenant = world.ours.tenant
    owner, admin_user = User.objects.create_user("boss"), User.objects.create_user("adam")
    Membership.objects.create(tenant=tenant, user=owner, role="owner")
    Membership.objects.create(tenant=tenant, user=admin_user, role="admin")
    desk = roles.create_role(
        access_of(owner), tenant, "desk", ["keys.view", "tokens.view", "tokens.add"]
    )
    _, link = invitations.invite(access_of(admin_user), tenant, desk, created_by=admin_user)
    clerk = User.objects.create_user("clerk")
    Membership.objects.create(tenant=tenant, user=clerk, role="", custom_role=desk)
    _, token = api_tokens.create(access_of(clerk), "t", ["*"], tenant=tenant, maker_id=clerk.pk)

    roles.change_role(
        access_of(owner), desk, permissions=[*desk.permissions, "roles.view", "roles.add"]
    )

    with pytest.raises(invitations.InvitationInvalid):
        invitations.accept_invitation(link, User.objects.create_user("guest"))
    program = Client(headers={"authorization": f"Bearer {token.reveal()}"})
    assert program.get("/api/v1/keys").status_code == 200
    assert program.get("/api/v1/roles").status_code == 403  # the token names what it was made for
    roles.change_role(access_of(owner), desk, permissions=["usage.view"])
    assert program.get("/api/v1/keys").status_code == 403
    link_works_again = invitations.find(link)  # the role is within the admin's rights again
    assert link_works_again.custom_role == desk
