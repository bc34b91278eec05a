"""Every page of the console opens in a browser without a complaint, at both widths, and axe finds nothing.

A run takes a third of the pages, and axe one view of each, as the seed says; the proof takes all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.e2e.person import Person
from tests.e2e.walk import look
from tests.plugins.tiers import sampled
from tests.processes.served import Served, shell

if TYPE_CHECKING:
    from playwright.sync_api import Request

WORLD = """
import json
from django.contrib import admin
from django.test import RequestFactory
from django.contrib.auth.models import User
from django.contrib.admin.utils import quote
from django.urls import reverse
from tenants.console import pages
from tests.console import world
from tenants.models import Tenant
made = world.make()
operator = User.objects.filter(is_superuser=True).first()
asked = RequestFactory().get("/console/")
asked.user, asked.session = operator, {}
found = [reverse("admin:index")]
shown = [page for page in pages.registered() if page.template and "<" not in page.path]
found += [reverse(f"admin:{page.name}") for page in shown if "GET" in page.methods]
for model, page in admin.site._registry.items():
    base = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    found.append(reverse(f"{base}_changelist"))
    if page.has_add_permission(asked):
        found.append(reverse(f"{base}_add"))
    row = page.get_queryset(asked).first()
    if row is not None:
        found.append(reverse(f"{base}_change", args=(quote(row.pk),)))
key = made.ours.key
found += [reverse(f"admin:tenants_apikey_{page}", args=(key.pk,)) for page in ("history", "delete")]
found += ["/console/accounts/2fa/", "/console/accounts/sessions/", "/console/accounts/password/change/"]
found += ["/console/search/?q=ours", "/console/search/?q=nothing-at-all", "/console/nowhere/"]
found += ["/console/tenants/apikey/?tenant=ours&q=nothing-at-all"]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def furnished(served: Served) -> list[str]:
    """The addresses of every page, of a database with a row for each."""
    found: list[str] = shell(served.variables, WORLD)
    return found


@pytest.fixture
def watched(operator: Person) -> tuple[Person, list[str]]:
    """An operator whose browser tells what it asked of other hosts."""
    foreign: list[str] = []
    own = re.compile(r"(https?://(localhost|127\.0\.0\.1)[:/]|data:|blob:)")

    def note(request: Request) -> None:
        if not own.match(request.url):
            foreign.append(request.url)

    operator.page.on("request", note)
    return operator, foreign


def test_every_page_is_in_order_in_a_browser(
    watched: tuple[Person, list[str]], furnished: list[str]
) -> None:
    operator, foreign = watched
    operator.sign_in()
    operator.page.get_by_role("button", name="Later").click()
    operator.sees("Overview")
    wrong: dict[str, list[str]] = {}
    numbered = list(enumerate(furnished))
    third = len(numbered) // 3
    for number, address in sampled(numbered, default=third, ci=third):
        operator.open(address)
        name = re.sub(r"[^a-z0-9]+", "-", address.removeprefix("/console")).strip("-") or "index"
        found = look(operator.page, f"page-{name[:60]}", number)
        found += [f"the browser complains: {each}" for each in operator.complaints]
        operator.complaints.clear()
        if found:
            wrong[address] = found

    assert len(furnished) > 80
    assert wrong == {}
    assert foreign == []


def test_search_is_reached_by_keyboard_and_keeps_secrets_to_itself(
    operator: Person, furnished: list[str]
) -> None:
    page = operator.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    operator.sign_in()
    page.get_by_role("button", name="Later").click()
    operator.sees("Overview")
    page.keyboard.press("Control+k")
    page.get_by_label("An id, or the beginning of a name").fill("ours")
    page.get_by_role("dialog").get_by_role("link", name="ours key").wait_for()
    operator.picture("search")
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")

    page.keyboard.press("Control+k")
    page.get_by_label("An id, or the beginning of a name").fill(f"tg_live_0123456789_{'s' * 38}")
    page.get_by_text("Nothing you may see has the id").wait_for()
    assert any("tg_live_0123456789" in address for address in asked)
    assert not any("sss" in address for address in asked)

    page.keyboard.press("Escape")
    operator.open("/console/tenants/apikey/")
    page.locator("#tg-tenant").select_option("ours")
    page.wait_for_url("**/console/tenants/apikey/?tenant=ours")
    page.get_by_role("link", name="Providers").click()
    page.wait_for_url("**/console/routing/provider/?tenant=ours")
