"""Each role, each address of the console, own and foreign ids, every method: the table of rights decides.

Addresses are read from the routes; one that is no page of a row, a list or a registered page needs a line
here, or the test fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

import pytest
from django.contrib import admin as django_admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.db.models import Model, UUIDField
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse

from tenants.console import live, pages
from tenants.console.scoped_admin import TenantModelAdmin
from tenants.keys import keys
from tenants.ledger.row_ids import request_id_of
from tenants.models import AuditEvent, PlatformRole, TenantDeletion
from tests.api.callers import undone
from tests.api.test_matrix import rows_of
from tests.console import world as worlds
from tests.console.pages import text, url
from tests.console.rights_table import RIGHTS, documented
from tests.console.world import CANARY, Side, World
from tests.plugins.tiers import sampled

pytestmark = pytest.mark.django_db

METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")
REGISTRY = django_admin.site._registry
# What can be done with such rows at all, whoever asks; elsewhere all four.
POSSIBLE: dict[str, set[str]] = {
    "auditevent": {"view"},
    "billingperiod": {"view"},
    "consolesession": {"view", "delete"},
    "conversation": {"view", "delete"},
    "credittransaction": {"view", "add"},
    "guardrailevent": {"view"},
    "invitation": {"view", "add"},
    "invoice": {"view"},
    "longtask": {"view"},
    "priceversion": {"view", "add"},  # a published one
    "storedresponse": {"view", "delete"},
    "supportsession": {"view", "add"},
    "tenantdeletion": {"view"},
    "usageday": {"view"},
    "usagehour": {"view"},
    "usagerow": {"view"},
    "webhookdelivery": {"view"},
}
# Pages of some rows beside those that every row has, and the right that each needs.
FURTHER = {
    **{f"tenants_invoice_{kind}": "view" for kind in ("pdf", "html", "csv", "json")},
    "tenants_longtask_file": "view",
    "routing_alias_targets": "view",  # what its buttons ask is refused in a message
    "auth_user_password_change": "change",
}
# What is asked about no row: lists of lists, what scripts ask, a file.
OF_LISTS = {
    "index",
    "app_list",
    "autocomplete",
    "jsi18n",
    "live_topic",
    "tenants_auditevent_export",
}
# Of whoever is signed in, or of nobody: they show and change nothing of a tenant. What they do is in
# test_sign_in.py, test_identity_providers.py, test_support_pages.py and test_people_pages.py.
OF_PEOPLE = {
    "accept_invitation", "account_change_password", "account_inactive", "account_login", "account_logout",
    "account_reauthenticate", "console_sessions", "end_support", "find_provider", "identity_callback",
    "identity_login", "login", "logout", "mfa_activate_totp", "mfa_add_webauthn", "mfa_authenticate",
    "mfa_deactivate_totp", "mfa_download_recovery_codes", "mfa_edit_webauthn",
    "mfa_generate_recovery_codes", "mfa_index", "mfa_list_webauthn", "mfa_login_webauthn",
    "mfa_reauthenticate", "mfa_reauthenticate_webauthn", "mfa_remove_webauthn",
    "mfa_view_recovery_codes", "no_access", "password_change", "password_change_done", "second_factor",
    "set_language",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Somebody:
    """A person with a role, and what the documented table gives it."""

    role: str
    client: Client
    rights: Mapping[str, set[str]]

    @property
    def is_of_platform(self) -> bool:
        return self.role in {"operator", "auditor"}

    def over(self, model: type[Model]) -> set[str]:
        """Return the rights over such rows of our tenant."""
        page = REGISTRY[model]
        if isinstance(page, TenantModelAdmin):
            return self.rights[page.area]
        everything = set(RIGHTS) if self.role == "operator" else {"view"}
        return everything if self.is_of_platform else set()


def somebody(role: str, world: World) -> Somebody:
    """Sign somebody in: for the platform, or in our tenant."""
    if role == "operator":
        everything = {area: set(RIGHTS) for area in documented()["owner"]}
        return Somebody(role, worlds.operator(), everything)
    client = worlds.auditor() if role == "auditor" else worlds.staff(role, world.ours.tenant)
    return Somebody(role, client, documented()[role])


@dataclass(frozen=True, slots=True)
class Question:
    """An address, whose it names, and the statuses that the table allows.

    saves   whether the page has a button that saves; None where it is no page of a row
    twin    the same address with an id that nobody has: another tenant's answers like it
    """

    address: str
    whose: str
    get: frozenset[int]
    post: frozenset[int]
    saves: bool | None = None
    twin: str = ""

    def allowed(self, method: str) -> frozenset[int]:
        return {"GET": self.get, "POST": self.post}.get(method, frozenset({405}))


DONE = frozenset({200, 302})
REFUSED = frozenset({403})
NOT_THERE = frozenset({404})
HIDDEN = REFUSED | NOT_THERE
WRONG_METHOD = frozenset({405})


def granted(is_granted: bool) -> frozenset[int]:
    return DONE if is_granted else REFUSED


@cache
def console_routes() -> tuple[URLPattern, ...]:
    """Return every route below /console/."""

    def within(patterns: Any, path: str) -> Iterator[tuple[str, URLPattern]]:
        for each in patterns:
            whole = path + str(each.pattern)
            if isinstance(each, URLPattern):
                yield whole, each
            else:
                yield from within(each.url_patterns, whole)

    found = within(get_resolver().url_patterns, "")
    return tuple(pattern for whole, pattern in found if whole.startswith("console/"))


def names_of_rows() -> set[str]:
    """Return the names of the routes of lists and rows."""
    kinds = ("changelist", "add", "change", "history", "delete", "do")
    of_models = {
        f"{m._meta.app_label}_{m._meta.model_name}_{kind}" for m in REGISTRY for kind in kinds
    }
    return of_models | set(FURTHER)


def test_every_route_of_the_console_is_in_the_matrix():
    of_pages = {page.name for page in pages.registered()}
    routes = {route.name or str(route.pattern) for route in console_routes()}

    assert routes - names_of_rows() - of_pages - OF_PEOPLE - OF_LISTS == {
        "<path:object_id>/",  # Django's old addresses of rows, which lead to the page
        "(?P<url>.*)$",  # everything else is not there
    }
    assert routes >= OF_PEOPLE | OF_LISTS | set(FURTHER)
    assert set(PLACES) == of_pages


# Lists and rows


def rows_by_side(world: World) -> dict[type[Model], dict[str, Model | None]]:
    """Return one row of each kind of ours, of the other tenant and of the platform."""
    known = rows_of(world)
    known[TenantDeletion] = {}
    auditors = {
        side: PlatformRole.objects.create(user=User.objects.create_user(f"{word}-auditor"))
        for side, word in (("ours", "ours"), ("theirs", CANARY))
    }
    known[PlatformRole] = {**auditors}
    for side in (world.ours, world.theirs):
        keys.revoke(side.key)  # else nobody could delete it
    return {model: known[model] for model in REGISTRY}


def nobodys(model: type[Model]) -> Model:
    """Return a row that does not exist."""
    is_uuid = isinstance(model._meta.pk, UUIDField)
    return model(pk=UUID("0198a000-0000-7000-8000-000000000000") if is_uuid else 987_654_321)


def about_rows(who: Somebody, world: World) -> Iterator[Question]:
    """Yield the pages of each model's list and of its rows."""
    for model, sides in rows_by_side(world).items():
        has = who.over(model)
        adds = granted("add" in has & possible_with(model))
        sees = granted("view" in has)
        yield Question(url(model, "changelist"), "list", sees, sees)
        yield Question(url(model, "add"), "list", adds, adds)
        for whose, row in {**sides, "unknown": nobodys(model)}.items():
            if row is not None:
                yield from about_row(who, row, whose)


def possible_with(model: type[Model]) -> set[str]:
    return POSSIBLE.get(str(model._meta.model_name), set(RIGHTS))


def about_row(who: Somebody, row: Model, whose: str) -> Iterator[Question]:
    page: Any = REGISTRY[type(row)]
    has = who.over(type(row))
    is_shown = who.is_of_platform or whose == "ours"
    is_shown |= whose == "platform" and page.shows_platform_rows
    if whose == "unknown" or "view" not in has or not is_shown:
        has = set[str]()
    elif whose == "platform" and not who.is_of_platform:
        has = {"view"}
    can = has & possible_with(type(row))
    history = (
        has if who.is_of_platform or whose != "platform" else set[str]()
    )  # the platform's own affair
    for name, is_granted in (
        ("change", "change" in can),
        ("delete", "delete" in can),
        ("history", "view" in history),
    ):
        saves = "change" in can if name == "change" and has else None
        yield _question(name, row, whose, has, is_granted, saves=saves)
    for name, right in FURTHER.items():
        if name.startswith(f"{row._meta.app_label}_{row._meta.model_name}_"):
            yield _question(name.rpartition("_")[2], row, whose, has, right in can)
    for action, button in page.row_actions().items():
        is_granted = button.right in has and (who.role == "operator" or not button.operators)
        yield _question("do", row, whose, has, is_granted, action)


def _question(
    page: str,
    row: Model,
    whose: str,
    has: set[str],
    is_granted: bool,
    *action: str,
    saves: bool | None = None,
) -> Question:
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}"
    address, twin = (
        reverse(name, args=(quote(each.pk), *action)) for each in (row, nobodys(type(row)))
    )
    post = granted(is_granted) if has else HIDDEN
    get = DONE if has and page == "change" else post
    return Question(address, whose, get, post, saves, twin)


# Pages of no one row


@dataclass(frozen=True, slots=True)
class Place:
    """A registered page: the right that opens it, and the one without which its form is refused."""

    area: str = ""
    opens: str = "view"
    sends: str = ""
    ids: Callable[[Side], str] | None = None
    query: str = ""
    is_platforms: bool = False
    is_lenient: bool = (
        False  # says on the page that leads there what does not run any more, whoever asks
    )


PLACES: dict[str, Place] = {
    "overview": Place(),
    "search": Place(),
    "system": Place(is_platforms=True),
    "usage": Place("usage"),
    "usage_csv": Place("usage"),
    "exports": Place("usage", sends="view"),
    "rerating": Place("billing", "change", sends="change"),
    "requests": Place("usage"),
    "requests_new": Place("usage"),
    "request": Place("usage", ids=lambda side: request_id_of(side.usage.pk)),
    "in_flight": Place("usage"),
    "stop_request": Place(
        "usage", sends="view", ids=lambda side: request_id_of(side.usage.pk), is_lenient=True
    ),
    "background": Place("usage"),
    "cancel_response": Place(
        "usage", sends="view", ids=lambda side: side.response.pk, is_lenient=True
    ),
    "first_request": Place("keys", ids=lambda side: side.key.public_id),
    "playground": Place("keys", "change"),
    "playground_token": Place("keys", "", sends="change"),
    "prices": Place("prices"),
    "price": Place("prices", sends="add", query="alias=ours-alias"),
    "price_import": Place("prices", "add", sends="add"),
    "provider_setup": Place("providers", "add", sends="add"),
    "circuits": Place("providers", sends="view"),
    "explain_route": Place("aliases", sends="view"),
    "guardrail_bench": Place("guardrails", sends="view"),
    "responses": Place("responses"),
    "conversations": Place("responses"),
    "purge": Place("responses", "delete", sends="delete"),
    "deliveries": Place("webhooks"),
}


def about_pages(who: Somebody, world: World) -> Iterator[Question]:
    """Yield every registered page, of all tenants, of each side and of none."""
    for name, place in PLACES.items():
        has = who.rights[place.area] if place.area else {"view"}
        if place.is_platforms and not who.is_of_platform:
            has = set()
        get = granted(place.opens in has) if place.opens else WRONG_METHOD
        post = granted(place.sends in has) if place.sends else WRONG_METHOD
        if post == DONE:
            post |= {400, 404}  # nothing is filled in
        if place.ids is not None:
            yield from _about_ids(who, name, place, world, get, post)
            continue
        address = f"{reverse(f'admin:{name}')}?{place.query}"
        yield Question(address, "list", get, post)
        for whose, slug in (
            ("ours", world.ours.tenant.slug),
            ("theirs", world.theirs.tenant.slug),
            ("unknown", "nobodys"),
        ):
            asked = f"{address}&tenant={slug}"
            if whose == "ours" or (who.is_of_platform and whose == "theirs"):
                yield Question(asked, whose, get, post)
            else:
                yield Question(asked, whose, NOT_THERE, NOT_THERE)


def _about_ids(
    who: Somebody, name: str, place: Place, world: World, get: frozenset[int], post: frozenset[int]
) -> Iterator[Question]:
    assert place.ids is not None
    unknown = f"req_{'0' * 32}" if name != "first_request" else "aaaaaaaaaa"
    twin = reverse(f"admin:{name}", args=(unknown,))
    for whose, key in (
        ("ours", place.ids(world.ours)),
        ("theirs", place.ids(world.theirs)),
        ("unknown", unknown),
    ):
        is_seen = whose == "ours" or (who.is_of_platform and whose == "theirs") or place.is_lenient
        address = reverse(f"admin:{name}", args=(key,))
        yield Question(
            address,
            whose,
            get if is_seen or get != DONE else NOT_THERE,
            post if is_seen or not post & DONE else NOT_THERE,
            twin=twin,
        )


def about_lists(who: Somebody, world: World) -> Iterator[Question]:
    """Yield what is about no row."""
    everybodys = DONE | HIDDEN
    for app in {model._meta.app_label for model in REGISTRY}:
        yield Question(reverse("admin:app_list", args=(app,)), "list", everybodys, everybodys)
    yield Question(reverse("admin:autocomplete"), "list", HIDDEN, WRONG_METHOD)
    yield Question(reverse("admin:jsi18n"), "list", DONE, WRONG_METHOD)
    log = granted("view" in who.rights["audit"])
    yield Question(reverse("admin:tenants_auditevent_export"), "list", log, log)
    # Those of tests/serving/test_console_socket.py are there, too, where it was imported.
    told = granted("view" in who.rights["usage"])
    for topic in (each for each in live.topic_names() if not each.startswith("test-")):
        # Some tell of one row, and nothing without its id.
        answers = NOT_THERE if topic in OF_ONE_ROW else told
        yield Question(reverse("live_topic", args=(topic,)), "list", answers, WRONG_METHOD)
    for whose, side in (("ours", world.ours), ("theirs", world.theirs)):
        is_seen = told == DONE and (whose == "ours" or who.is_of_platform)
        followed = f"{reverse('live_topic', args=('task',))}?task={side.task.pk}"
        yield Question(followed, whose, DONE if is_seen else NOT_THERE, WRONG_METHOD)


# The crawl

OF_ONE_ROW = frozenset({"task", "deletion"})
EVERYBODY = (*worlds.ROLES, "auditor", "operator")


@pytest.mark.parametrize("role", sampled(EVERYBODY, default=2, ci=4))
def test_every_page_answers_by_the_table_and_tells_nothing_of_others(role: str, world: World):
    who = somebody(role, world)
    asked = [*about_rows(who, world), *about_pages(who, world), *about_lists(who, world)]
    assert len(asked) > 500
    wrong = [
        fault
        for question in sampled(asked, default=15, ci=40)
        for method in METHODS
        for fault in faults(who, question, method)
    ]
    assert wrong == []


def faults(who: Somebody, question: Question, method: str) -> Iterator[str]:
    """Ask, take back what was done, and tell what should not have been."""
    with undone():
        before = AuditEvent.objects.count()
        answer = who.client.generic(method, question.address)
        was_changed = AuditEvent.objects.count() != before
    where, shown = f"{who.role}: {method} {question.address} {question.whose}", text(answer)
    if answer.status_code not in question.allowed(method):
        yield f"{where}: {answer.status_code} {shown[:200]}"
    if answer.status_code not in DONE and was_changed:
        yield f"{where}: was refused and has changed something"
    if (
        method == "GET"
        and question.saves is not None
        and ('name="_save"' in shown) != question.saves
    ):
        yield f"{where}: can be saved, or cannot"
    if who.is_of_platform:
        return
    if CANARY in shown.lower().replace(question.address, ""):
        yield f"{where}: tells of another tenant"
    if question.whose == "theirs" and question.twin:
        with undone():
            unknown = who.client.generic(method, question.twin)
        if told(unknown, question) != told(answer, question):
            yield f"{where}: is not answered like what does not exist"


def told(answer: Any, question: Question) -> tuple[int, str]:
    """Return what an answer tells, but for the id that was asked for and the mark of forms."""
    own, other = question.address.split("/"), question.twin.split("/")
    ids = [part for pair in zip(own, other, strict=True) if pair[0] != pair[1] for part in pair]
    page = re.sub(r'(name="csrfmiddlewaretoken" value)="\w+"', r"\1", answer.content.decode())
    return answer.status_code, re.sub(
        "|".join(rf"\b{re.escape(each)}\b" for each in ids), "ID", page
    )
