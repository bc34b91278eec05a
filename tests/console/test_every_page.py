"""Every page an operator can open, asked for once and looked at by every rule that holds for all pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from responses_api.models import WebhookEndpoint
from responses_api.webhooks import endpoints
from routing.models import Credential
from tenants.access.access import access_of
from tenants.members import invitations
from tenants.models import KeySecret
from tests.console.pages import KEPT_BY_US, WRITTEN_BY_US, text, url
from tests.console.test_tenant_isolation import (
    REFUSED,
    REGISTRY,
    TENANT_MODELS,
    autocomplete_addresses,
    page_addresses,
    searches,
)
from tests.console.world import CANARY, SECRET, World
from tests.plugins.tiers import sampled

pytestmark = pytest.mark.django_db

LOGIN = "/console/accounts/login/"
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
KEY = re.compile(r"tg_live_\w+")
Answers = dict[str, Any]
Rule = Callable[[str, Any], Iterator[str]]


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


def pages_with_answers(world: World) -> Iterator[tuple[str, int]]:
    """Yield each page of the operator, and how it answers."""
    yield reverse("admin:index"), 200
    for name in ACCOUNT_PAGES:
        yield reverse(name), 200
    for model in REGISTRY:
        yield url(model, "changelist"), 200
        yield url(model, "add"), 403 if model in WRITTEN_BY_US else 200
    for side in (world.ours, world.platform):
        for row in side.rows():
            yield url(row, "change"), 200
            yield url(row, "history"), 200
            yield url(row, "delete"), 403 if type(row) in KEPT_BY_US else 200


def further_addresses(world: World) -> Iterator[str]:
    """Yield what else an operator may be led to."""
    rows = [*world.theirs.rows(), *User.objects.all()]
    yield from (url(row, page) for row in rows for page in ("change", "history", "delete"))
    yield from page_addresses(world)
    yield from searches(world)
    yield from sampled(list(autocomplete_addresses()), default=30, ci=100)


def public_addresses(world: World, by: User) -> list[str]:
    """Return what somebody may open who is not signed in."""
    _, link = invitations.invite(access_of(by), world.ours.tenant, "viewer", created_by=by)
    invited = (reverse("accept_invitation", args=(word,)) for word in (link.reveal(), "wrong"))
    return [LOGIN, "/console/", *invited, "/console/nothing/"]


def policy_faults(address: str, answer: Any) -> Iterator[str]:
    if set(answer.get("Content-Security-Policy", "").split("; ")) != POLICY:
        yield f"{address} has another policy"
    if answer.get("Content-Type", "").startswith("text/html") and not answer.streaming:
        yield from (f"{address} has {each}" for each in inline(answer.content.decode()))


def frame_and_cache_faults(address: str, answer: Any) -> Iterator[str]:
    if answer["X-Frame-Options"] != "DENY" or answer["X-Content-Type-Options"] != "nosniff":
        yield f"{address} may be framed"
    if answer["Referrer-Policy"] != "same-origin":  # an invitation's address is a secret
        yield f"{address} tells other sites its address"
    if "no-store" not in answer.get("Cache-Control", ""):
        yield f"{address} may be kept"


def shown_secrets() -> Rule:
    """Return a rule about all secrets there are, and about what is stored of them."""
    stored = [row.sealed_secret for row in Credential.objects.all()]
    for endpoint in WebhookEndpoint.objects.all():
        secrets = endpoints.signing_secrets(endpoint)
        stored += [endpoint.sealed_secret, *(secret.reveal() for secret in secrets)]
    digests = [bytes(row.digest) for row in KeySecret.objects.all()]
    hidden = [SECRET, *stored, *(d.hex() for d in digests), *(repr(d)[2:-1] for d in digests)]

    def faults(address: str, answer: Any) -> Iterator[str]:
        page = text(answer)
        if any(value in page for value in hidden) or KEY.search(page):
            yield f"{address} shows a secret"

    return faults


def test_every_page_opens_and_keeps_every_rule_of_all_pages(world: World) -> None:
    root = User.objects.create_superuser("root", password="for the forms")
    operator, stranger = Client(), Client()
    operator.force_login(root)
    every = list(pages_with_answers(world))
    expected = dict(sampled(every, default=45, ci=110))

    main = {address: operator.get(address) for address in expected}
    others = [each for each in further_addresses(world) if each not in main]
    further = {each: operator.get(each) for each in sampled(others, default=20, ci=50)}
    public = {address: stranger.get(address) for address in public_addresses(world, root)}

    statuses = {address: answer.status_code for address, answer in main.items()}
    assert statuses == expected
    assert {answer.status_code for answer in further.values()} <= {200, *REFUSED}
    # The operator sees tenant B on every list, so what others are not shown of it is worth something.
    lists = {url(model, "changelist") for model in TENANT_MODELS} & main.keys()
    assert all(CANARY in text(main[address]).lower() for address in lists)
    secrets = shown_secrets()
    wrong = [
        fault
        for answers, rules in (
            (main, (policy_faults, frame_and_cache_faults, secrets)),
            (further, (secrets,)),
            (public, (policy_faults, frame_and_cache_faults, secrets)),
        )
        for address, answer in answers.items()
        for rule in rules
        for fault in rule(address, answer)
    ]
    assert wrong == []


def test_a_refused_form_has_the_policy_too(db: None) -> None:
    answer = Client(enforce_csrf_checks=True).post(reverse("account_login"), {"login": "x"})

    assert answer.status_code == 403
    assert set(answer["Content-Security-Policy"].split("; ")) == POLICY


def test_this_would_find_what_browsers_refuse() -> None:
    assert inline("<script>1</script><p style='x' onclick='y'><img src='data:,'>") == [
        "<script>",
        "p onclick=y",
        "img src=data:,",
    ]
    assert inline("<script type='application/json'>{}</script><a href='https://x'>y</a>") == []
