"""Browsers are told what the console's pages may load, and no page has what they would then not run."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.console.pages import url
from tests.console.test_tenant_isolation import REGISTRY
from tests.console.world import World

pytestmark = pytest.mark.django_db

POLICY = {
    "default-src 'self'",
    "script-src 'self'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "object-src 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "form-action 'self'",
}
ACCOUNT_PAGES = (
    "mfa_index",
    "mfa_activate_totp",
    "mfa_list_webauthn",
    "mfa_add_webauthn",
    "account_reauthenticate",
    "account_change_password",
    "console_sessions",
    "second_factor",
)


class Inline(HTMLParser):
    """Collects what a page has within itself and the policy forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        is_data = given.get("type") == "application/json"  # which is not run
        if tag == "script" and "src" not in given and not is_data:
            self.found.append(f"<{tag}>")
        for name, value in given.items():
            address = (value or "").strip().lower()
            is_foreign = name in {"src", "href", "action"} and address.startswith(
                ("javascript:", "data:", "http:", "https:", "//")
            )
            if name.startswith("on") or (is_foreign and tag != "a"):
                self.found.append(f"{tag} {name}={value}")


def inline(page: str) -> list[str]:
    parser = Inline()
    parser.feed(page)
    return parser.found


def test_every_page_has_the_policy_and_nothing_it_forbids(world: World):
    operator = Client()
    operator.force_login(User.objects.create_superuser("operator", password="for the forms"))
    pages = [reverse("admin:index"), *(reverse(name) for name in ACCOUNT_PAGES)]
    pages += [url(model, page) for model in REGISTRY for page in ("changelist", "add")]
    pages += [
        url(row, page) for row in world.ours.rows() for page in ("change", "history", "delete")
    ]
    asked = [(path, operator.get(path)) for path in pages]
    asked += [(path, Client().get(path)) for path in ("/console/", reverse("account_login"))]
    shown = [path for path, answer in asked if answer.status_code == 200]

    assert len(shown) > 80
    assert {*map(reverse, ACCOUNT_PAGES)} <= set(shown)
    for path, answer in asked:
        assert set(answer["Content-Security-Policy"].split("; ")) == POLICY, path
        if answer.get("Content-Type", "").startswith("text/html"):
            assert inline(answer.content.decode()) == [], path


def test_a_refused_form_has_the_policy_too(db: None):
    answer = Client(enforce_csrf_checks=True).post(reverse("account_login"), {"login": "x"})

    assert answer.status_code == 403
    assert set(answer["Content-Security-Policy"].split("; ")) == POLICY


def test_this_would_find_what_browsers_refuse():
    assert inline("<script>1</script><p style='x' onclick='y'><img src='data:,'>") == [
        "<script>",
        "p onclick=y",
        "img src=data:,",
    ]
    assert inline("<script type='application/json'>{}</script><a href='https://x'>y</a>") == []
