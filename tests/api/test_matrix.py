"""Each role's token, every route, own, foreign and unknown ids, every method: the table of rights decides.

Routes are read from the tables of paths; one that makes or changes something, or has no rows, needs an entry
here, or the test fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import FieldDoesNotExist
from django.db import connection
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver
from rest_framework.views import APIView

from gateway_project.api_urls import urlpatterns
from gateway_project.lib import clock
from gateway_project.system_api import SystemView
from responses_api.api.circuits import CircuitsView, ResetCircuitView
from responses_api.api.explaining import ExplainRouteView
from responses_api.api.guardrails import GuardrailTestView
from responses_api.api.in_flight import (
    BackgroundView,
    CancelRunView,
    InFlightView,
    StopView,
)
from responses_api.api.purges import PurgeView
from routing.api.figures import AliasFiguresView, ProviderFiguresView
from routing.api.prices import EffectivePricesView, PriceImportView, PricePreviewView
from routing.api.reratings import ReratingView
from routing.api.setup import SetUpView, TryOutView
from routing.models import AliasGrant, ProviderModel, Target
from tenants.access.rights import AUDITOR, EVERYTHING, ROLES, Area, Permissions, Right
from tenants.access.scopes import permissions_of
from tenants.api.configuration import ConfigurationView
from tenants.api.long_work import ExportView
from tenants.api.reports import UsageReportView
from tenants.api.requests import RequestLogView, RequestView
from tenants.api.rows import Rows
from tenants.api.series import OverviewView, UsageSeriesView
from tenants.ledger.row_ids import request_id_of
from tenants.managed.resource import key_of as resource_key
from tenants.models import (
    ApiToken,
    ConsoleSession,
    ExternalIdentity,
    IdentityDomain,
    KeySecret,
    PriceVersion,
)
from tests.api.callers import Api, of_member, of_operator, undone
from tests.console.world import CANARY, SECRET, Side, World
from tests.plugins.tiers import sampled

pytestmark = pytest.mark.django_db

METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")
RIGHT: dict[str, Right] = {
    "list": "view", "retrieve": "view", "create": "add", "partial_update": "change",
    "destroy": "delete",
}  # fmt: skip
# What has routes of its own beside lists and rows, and the right it needs.
FURTHER: dict[tuple[str, str], tuple[Area, Right]] = {
    ("tenants", "suspend"): (Area.TENANT, "delete"),
    ("tenants", "resume"): (Area.TENANT, "delete"),
    ("tenants", "begin_deletion"): (Area.TENANT, "delete"),
    ("tenants", "deletion"): (Area.TENANT, "view"),
    ("invitations", "resend"): (Area.MEMBERS, "add"),
    ("invitations", "revoke"): (Area.MEMBERS, "delete"),
    ("identity-domains", "confirm"): (Area.SIGN_IN, "change"),
    ("keys", "rotate"): (Area.KEYS, "change"),
    ("keys", "revoke"): (Area.KEYS, "change"),
    ("keys", "first_request"): (Area.USAGE, "view"),
    ("tokens", "revoke"): (Area.TOKENS, "delete"),
    ("support-sessions", "end"): (Area.AUDIT, "add"),
    ("budgets", "windows"): (Area.LIMITS, "view"),
    ("budgets", "standing"): (Area.LIMITS, "view"),
    ("prices", "publish"): (Area.PRICES, "change"),
    ("providers", "test"): (Area.PROVIDERS, "change"),
    ("providers", "sync"): (Area.PROVIDERS, "change"),
    ("models", "test"): (Area.PROVIDERS, "change"),
    ("aliases", "purge_cache"): (Area.ALIASES, "change"),
    ("aliases", "reorder"): (Area.ALIASES, "change"),
    ("invoices", "finalize"): (Area.BILLING, "change"),
    ("invoices", "pdf"): (Area.BILLING, "view"),
    ("invoices", "html"): (Area.BILLING, "view"),
    ("invoices", "csv"): (Area.BILLING, "view"),
    ("invoices", "json"): (Area.BILLING, "view"),
    ("invoices", "credit_note"): (Area.BILLING, "change"),
    ("billing-periods", "usage"): (Area.BILLING, "view"),
    ("billing-periods", "close"): (Area.BILLING, "change"),
    ("tasks", "confirm"): (Area.BILLING, "change"),
    ("tasks", "discard"): (Area.USAGE, "view"),
    ("tasks", "file"): (Area.USAGE, "view"),
    ("tenants", "credit"): (Area.BILLING, "view"),
    ("tenants", "figures"): (Area.TENANT, "view"),
    ("responses", "items"): (Area.RESPONSES, "view"),
    ("conversations", "items"): (Area.RESPONSES, "view"),
    ("webhooks", "rotate"): (Area.WEBHOOKS, "change"),
    ("webhooks", "test"): (Area.WEBHOOKS, "change"),
    ("webhook-deliveries", "send_again"): (Area.WEBHOOKS, "change"),
}
# Answers of who may, where they are not 200: the world's rows are published, final, or still on their way.
STANDS_IN_THE_WAY = {
    ("invoices", "finalize"): 409,
    ("invoices", "credit_note"): 400,  # nobody named the lines
    ("billing-periods", "close"): 409,
    ("tasks", "confirm"): 409,
    ("identity-domains", "confirm"): 409,  # nobody wrote the record
    ("webhook-deliveries", "send_again"): 409,
    ("tenants", "begin_deletion"): 400,  # nobody typed the slug
    ("providers", "sync"): 400,  # nothing answers there
    ("aliases", "reorder"): 400,  # nobody named the targets
}
# Rows of no tenant: the rights of a tenant's people count for nothing there.
OF_PLATFORM = {"users", "external-identities"}
# What belongs to people: each sees their own, and none of these rows is a caller's.
PERSONAL = {"sessions"}


@dataclass(frozen=True, slots=True)
class ApiRoute:
    """One path and what it does by method."""

    prefix: str
    further: str
    is_one: bool
    view: type[Rows]
    methods: dict[str, str]


def all_routes() -> Iterator[ApiRoute]:
    patterns = [each for part in urlpatterns for each in getattr(part, "url_patterns", ())]
    assert all(isinstance(each, URLPattern) for each in patterns)
    assert sum(isinstance(part, URLResolver) for part in urlpatterns) == 3
    for pattern in patterns:
        path = str(pattern.pattern)
        prefix, one, further = path.partition("/<str:key>")
        view: Any = pattern.callback
        if not issubclass(view.cls, Rows):
            assert view.cls in {route.view for route in ROWLESS}
            continue
        methods = {method.upper(): name for method, name in view.actions.items()}
        yield ApiRoute(prefix, further.lstrip("/"), bool(one), view.cls, methods)


def new_rows(world: World) -> dict[str, dict[str, Any]]:
    """Return, for each list that takes something, a row that an admin may make."""
    ours, platform = world.ours, world.platform
    second = ProviderModel.objects.create(provider=ours.provider, upstream_id="second")
    return {
        "tenants": {"name": "Another"},
        "members": {"user": ours.member.user_id, "role": "viewer"},
        "keys": {"name": "new"},
        "tokens": {"name": "new", "scopes": ["keys.view"]},
        "roles": {"name": "new", "permissions": ["keys.view"]},
        "invitations": {"email": "new@example.com", "custom_role": ours.role.pk},
        "identity-providers": {
            "name": "new", "issuer": "https://login.new.example", "client_id": "new",
        },
        "identity-domains": {"provider": str(ours.identity.pk), "domain": "new.example"},
        "limits": {
            "api_key": ours.key.public_id, "metric": "tokens", "window": "day", "amount": 5,
        },
        "budgets": {"api_key": ours.key.public_id, "name": "new", "amount_nano": 5},
        "prices": {
            "book": "charge", "model": "m", "effective_from": "2030-01-01T00:00:00Z",
            "lines": [{"token_class": "input_fresh", "pico_per_token": 1}],
        },
        "billing-details": {"name": "New"},
        "credit": {"tenant": ours.tenant.pk, "reference": "r", "amount_cents": 100},
        "providers": {"name": "new", "protocol": "chat", "base_url": "https://n.example/v1"},
        "credentials": {"provider": ours.provider.pk, "name": "new", "secret": f"new-{SECRET}"},
        "models": {"provider": ours.provider.pk, "upstream_id": "new"},
        "aliases": {"name": "new", "platform_alias": platform.alias.pk},
        "targets": {"alias": ours.alias.pk, "provider_model": second.pk, "position": 1},
        "grants": {"api_key": ours.key.public_id, "alias": platform.alias.pk},
        "webhooks": {"url": "https://new.example/hook"},
        "guardrails": {"name": "new", "kind": "pii", "action": "mask"},
        "users": {"username": "new", "role": "auditor"},
        "external-identities": {
            "issuer": "https://login.new.example", "subject": "new", "user": ours.member.user_id,
        },
        "support-sessions": {"tenant": ours.tenant.pk, "role": "viewer", "reason": "asked for"},
    }  # fmt: skip


Known = dict[type[Model], dict[str, Model | None]]


def rows_of(world: World) -> Known:
    """One row of each kind of ours, of the other tenant and, where there are such, of the platform."""
    ours, theirs = ({type(row): row for row in side.rows()} for side in (world.ours, world.theirs))
    platform = {type(row): row for row in world.platform.rows()}
    inner: tuple[type[Model], ...] = (Target, AliasGrant)
    for model in inner:
        for side, kept in ((world.ours, ours), (world.theirs, theirs), (world.platform, platform)):
            row = model._default_manager.filter(alias=side.alias).first()
            if row is not None:
                kept[model] = row
    for side, kept in ((world.ours, ours), (world.theirs, theirs)):
        word = side.tenant.slug
        kept[IdentityDomain], _ = IdentityDomain.objects.get_or_create(
            provider=side.identity, domain=f"{word}.example"
        )
        kept[User] = user = side.member.user
        kept[ExternalIdentity], _ = ExternalIdentity.objects.get_or_create(
            issuer=side.identity.issuer, subject=word, user=user
        )
        kept[ConsoleSession], _ = ConsoleSession.objects.get_or_create(
            session_key=f"{word:0<40}", user=user,
            defaults={"browser": word, "expire_date": clock.now() + timedelta(hours=1)},
        )  # fmt: skip
    return {
        model: {"ours": row, "theirs": theirs[model], "platform": platform.get(model)}
        for model, row in ours.items()
    }


def key_of(view: type[Rows], row: Model) -> str:
    return str(getattr(row, view.resource.key))


def unknown_key(view: type[Rows]) -> str:
    field: Any = view.resource.model._meta.pk
    if view.resource.key != "pk":
        return "aaaaaaaaaa"
    return str(UUID(int=7)) if field.get_internal_type() == "UUIDField" else "987654321"


@dataclass(frozen=True, slots=True)
class Case:
    """Somebody with certain permissions in our tenant."""

    api: Api
    held: Permissions
    of_platform: Permissions = frozenset()

    def may(self, area: Area, right: Right) -> bool:
        return (area, right) in self.held | self.of_platform


def caller(name: str, world: World) -> Case:
    match name:
        case "operator":
            return Case(of_operator(), EVERYTHING, EVERYTHING)
        case "auditor":
            seen: Permissions = frozenset(each for each in EVERYTHING if each[1] == "view")
            return Case(of_operator("*.view"), seen, seen)
        case "few":
            scopes = ("keys.view", "keys.change", "aliases.view")
            return Case(of_operator(*scopes), permissions_of(scopes), permissions_of(scopes))
        case "narrow":
            scopes = ("keys.view", "keys.add", "aliases.view")
            return Case(of_member("owner", world.ours.tenant, *scopes), permissions_of(scopes))
    return Case(of_member(name, world.ours.tenant), ROLES[name])


def expected(case: Case, route: ApiRoute, method: str, whose: str, row: Model | None) -> set[int]:
    """Return the statuses the table of rights allows for."""
    if method not in route.methods:
        return {405}
    action, area = route.methods[method], route.view.resource.area
    needed = FURTHER[route.prefix, action] if route.further else (area, RIGHT[action])
    # Of the platform's own rows, a right in a tenant says nothing.
    held = case.of_platform if route.prefix in OF_PLATFORM else case.held | case.of_platform
    if action == "create":
        return _created(case, route) if needed in held else {403}
    if action in {"list", "retrieve"} and (area, "view") not in held:
        return {403}
    if action == "list":
        return {200}
    if not _sees(case, route, whose):
        return {404}
    return _done(case, route, action, needed, whose, row)


def _created(case: Case, route: ApiRoute) -> set[int]:
    if route.prefix == "members" and not case.of_platform:
        return {400}  # whoever a tenant's people could add is a member already; others are invited
    if route.prefix == "billing-details":
        return {400}  # there are some of the tenant already, and never two
    return {403} if route.prefix == "support-sessions" else {201}  # no person made the token


def _done(
    case: Case,
    route: ApiRoute,
    action: str,
    needed: tuple[Area, Right],
    whose: str,
    row: Model | None,
) -> set[int]:
    """Return the statuses for what is done to a row that the caller sees."""
    if needed[1] == "view":
        return {200} if case.may(*needed) else {403}
    if needed not in (case.held if whose == "ours" else case.of_platform):
        return {403}
    if isinstance(row, PriceVersion):
        return {403}  # it is published
    if (place := (route.prefix, action)) in STANDS_IN_THE_WAY:
        return {STANDS_IN_THE_WAY[place]}
    return {204, 409} if action == "destroy" else {200}  # what is in use stays


def _sees(case: Case, route: ApiRoute, whose: str) -> bool:
    resource = route.view.resource
    if (resource.area, "view") in case.of_platform:
        return whose != "unknown"
    if route.prefix in OF_PLATFORM | PERSONAL:
        return False
    is_shown = whose == "ours" or (whose == "platform" and resource.shows_platform_rows)
    return is_shown and case.may(resource.area, "view")


def path_of(route: ApiRoute, whose: str, row: Model | None) -> str:
    path = route.prefix
    if route.is_one:
        path += f"/{unknown_key(route.view) if row is None else key_of(route.view, row)}"
    return f"{path}/{route.further}" if route.further else path


def body_for(case: Case, route: ApiRoute, method: str, new: Any, world: World) -> Any:
    if route.methods.get(method) != "create":
        return {} if method in {"POST", "PATCH"} else None
    body = dict(new[route.prefix])
    if case.of_platform and route.prefix in NAME_THEIR_TENANT:
        body["tenant"] = world.ours.tenant.pk
    if case.of_platform and route.prefix == "members":
        body["user"] = User.objects.get(username="newcomer").pk
    return body


NAME_THEIR_TENANT = {
    "members", "roles", "invitations", "keys", "limits", "budgets", "webhooks", "credentials", "aliases",
    "guardrails",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rowless:
    """A route without rows of its own: the right it needs, and what names whose it is.

    `place` and `body` are made for a side; `nobodys` is the id that stands for one that does not exist.
    Others than `done` are what a request comes to that may be made, but asks for nothing sensible.
    """

    view: type[APIView]
    method: str
    path: str
    right: tuple[Area, Right] | None
    id_of: Callable[[Side], Any] | None = None
    nobodys: Any = 987654321
    body: Callable[[Any], Any] = lambda key: None
    is_platforms: bool = False
    writes: bool = False  # any right but those to view will do
    done: frozenset[int] = frozenset({200})


def of_tenant(side: Side) -> int:
    return side.tenant.pk


A_REQUEST = f"req_{'0' * 32}"
NOTHING_ASKED = frozenset({400})
ROWLESS = (
    Rowless(UsageReportView, "GET", "usage?tenant={id}", (Area.USAGE, "view"), of_tenant),
    Rowless(RequestLogView, "GET", "requests?tenant={id}", (Area.USAGE, "view"), of_tenant),
    Rowless(RequestView, "GET", "requests/{id}", (Area.USAGE, "view"),
            lambda side: request_id_of(side.usage.pk), A_REQUEST),
    Rowless(UsageSeriesView, "GET", "reports/usage?tenant={id}", (Area.USAGE, "view"), of_tenant),
    Rowless(OverviewView, "GET", "reports/overview?tenant={id}", (Area.USAGE, "view"), of_tenant),
    Rowless(InFlightView, "GET", "in-flight?tenant={id}", (Area.USAGE, "view"), of_tenant),
    Rowless(BackgroundView, "GET", "background?tenant={id}", (Area.USAGE, "view"), of_tenant),
    Rowless(StopView, "POST", "in-flight/{id}/stop", (Area.USAGE, "view"),
            lambda side: request_id_of(side.usage.pk), A_REQUEST, done=frozenset({404})),
    Rowless(CancelRunView, "POST", "background/{id}/cancel", (Area.RESPONSES, "delete"),
            lambda side: side.response.pk, f"resp_{'0' * 50}", done=frozenset({404})),
    Rowless(ProviderFiguresView, "GET", "providers/figures", (Area.PROVIDERS, "view")),
    Rowless(AliasFiguresView, "GET", "aliases/figures?tenant={id}", (Area.ALIASES, "view"), of_tenant),
    Rowless(SetUpView, "POST", "providers/setup", (Area.PROVIDERS, "add"), done=NOTHING_ASKED),
    Rowless(TryOutView, "POST", "providers/setup/test", (Area.PROVIDERS, "add"), done=NOTHING_ASKED),
    Rowless(EffectivePricesView, "GET", "effective-prices?tenant={id}", (Area.PRICES, "view"), of_tenant),
    Rowless(PricePreviewView, "POST", "price-preview", (Area.PRICES, "add"), done=NOTHING_ASKED),
    Rowless(PriceImportView, "POST", "price-import", (Area.PRICES, "add")),
    Rowless(GuardrailTestView, "POST", "guardrail-tests", (Area.GUARDRAILS, "view"),
            lambda side: side.guardrail.pk, body=lambda key: {"guardrail": key, "text": "word"}),
    Rowless(GuardrailTestView, "POST", "guardrail-tests", (Area.GUARDRAILS, "view"),
            lambda side: side.key.public_id, "aaaaaaaaaa", lambda key: {"key": key, "text": "word"}),
    Rowless(ExplainRouteView, "POST", "explain-route", (Area.ALIASES, "view"),
            lambda side: side.alias.pk, body=lambda key: {"alias": key}),
    Rowless(CircuitsView, "GET", "circuits", (Area.PROVIDERS, "view")),
    Rowless(ResetCircuitView, "POST", "circuits/reset", (Area.PROVIDERS, "change"),
            body=lambda key: {"circuit": "none"}, done=frozenset({404})),
    Rowless(ConfigurationView, "GET", "configuration?tenant={id}", None,
            lambda side: side.tenant.slug, "nobodys"),
    Rowless(ConfigurationView, "POST", "configuration", None, writes=True, done=NOTHING_ASKED),
    Rowless(ExportView, "POST", "exports", (Area.USAGE, "view"), of_tenant,
            body=lambda key: {"tenant": key}, done=frozenset({201})),
    Rowless(PurgeView, "POST", "purges", (Area.RESPONSES, "delete"), of_tenant,
            body=lambda key: {"tenant": key, "before": "2026-01-01T00:00:00Z"}, done=frozenset({201})),
    Rowless(ReratingView, "POST", "reratings", (Area.BILLING, "change"), done=NOTHING_ASKED),
    Rowless(SystemView, "GET", "system", None, is_platforms=True),
)  # fmt: skip


def faults_without_rows(case: Case, world: World, *, asks_all: bool) -> Iterator[str]:
    """Ask each route without rows about our tenant, another one and none, by its method or every one."""
    taken = {(route.view, route.method) for route in ROWLESS}
    for route in ROWLESS:
        may = route.right is None or route.right in case.held | case.of_platform
        may = may and (case.of_platform >= AUDITOR or not route.is_platforms)
        may = may and (not route.writes or any(right != "view" for _, right in case.held))
        answers = {}
        sides = {"ours": world.ours, "theirs": world.theirs, "unknown": None}
        for whose, side in sides.items() if route.id_of else (("list", world.ours),):
            key = route.nobodys if side is None or route.id_of is None else route.id_of(side)
            sees = whose in {"ours", "list"} or (whose == "theirs" and bool(case.of_platform))
            path = route.path.format(id=key)
            for method in METHODS:
                if method != route.method and (
                    not asks_all or (route.view, method) in taken or whose != "ours"
                ):
                    continue  # it has a line of its own, or no method is told by whose it is
                with undone():
                    answer = case.api.ask(
                        method, path, route.body(key) if method == "POST" else None
                    )
                where = f"{method} {path} {whose}"
                allowed = route.done if may else {403, 404}
                allowed = allowed if sees else {400, 403, 404}
                if answer.status_code not in ({405} if method != route.method else allowed):
                    yield f"{where}: {answer.status_code} {answer.content[:200]!r}"
                if not case.of_platform and CANARY in answer.content.decode().replace(path, ""):
                    yield f"{where}: told of another tenant"
                if method == route.method:
                    told = answer.content.decode().replace(str(key), "it")
                    answers[whose] = answer.status_code, told
        if not case.of_platform and answers.get("theirs") != answers.get("unknown"):
            yield f"{route.path}: {answers}"


CALLERS = (
    "owner",
    "admin",
    "developer",
    "billing",
    "viewer",
    "narrow",
    "few",
    "auditor",
    "operator",
)


CALLERS_HERE = sampled(CALLERS, default=2, ci=3)
# That a route has no such method depends on nobody: one caller asks for it, in the proof all do.
ASK_FOR_NO_METHOD = set(sampled(CALLERS_HERE, default=1, ci=1))


@pytest.mark.parametrize("name", CALLERS_HERE)
def test_every_route_answers_by_the_table_and_tells_nothing_of_others(name: str, world: World):
    case, known, secrets = caller(name, world), rows_of(world), planted(world)
    case.api.get("keys")  # the time of its last use is noted, and what is undone below leaves it
    User.objects.create_user("newcomer")
    new, wrong, asks_all = new_rows(world), [], name in ASK_FOR_NO_METHOD
    for route, whose, row in sampled(list(places(known)), default=25, ci=100):
        for method in METHODS if asks_all else route.methods:
            body = body_for(case, route, method, new, world)
            with undone():
                answer = case.api.ask(method, path_of(route, whose, row), body)
            where = f"{method} {route.prefix} {route.further} {whose}"
            if answer.status_code not in expected(case, route, method, whose, row):
                wrong.append(f"{where}: {answer.status_code} {answer.content[:200]!r}")
            if not case.of_platform and CANARY.encode() in answer.content:
                wrong.append(f"{where}: told of another tenant")
            if any(secret in answer.content for secret in secrets):
                wrong.append(f"{where}: told a secret")
    assert [*wrong, *faults_without_rows(case, world, asks_all=asks_all)] == []


def places(known: Known) -> Iterator[tuple[ApiRoute, str, Any]]:
    """Yield each route of rows, with a row of ours, of others, and of nobody."""
    for route in all_routes():
        rows = known[route.view.resource.model]
        for whose in ("ours", "theirs", "platform", "unknown") if route.is_one else ("list",):
            row = rows.get(whose)
            if row is not None or whose != "platform":
                yield route, whose, row


def planted(world: World) -> list[bytes]:
    """Return secrets in plain, sealed, and their digests: nobody may be told any of them."""
    sealed = [
        text
        for side in (world.ours, world.theirs)
        for text in (side.credential.sealed_secret, side.endpoint.sealed_secret)
    ]
    digests = [bytes(each.digest).hex() for each in KeySecret.objects.all()]
    tokens = [bytes(each.digest).hex() for each in ApiToken.objects.all()]
    return [SECRET.encode(), *(text.encode() for text in (*sealed, *digests, *tokens))]


def test_a_link_to_another_tenants_row_is_refused_like_one_to_none(world: World):
    """Every field that names another row, with the id of the other tenant's and one that nobody has."""
    case, known = caller("owner", world), rows_of(world)
    tried = 0
    for prefix, body in new_rows(world).items():
        route = next(each for each in all_routes() if each.prefix == prefix and not each.is_one)
        for name in body.keys() | {"tenant"}:
            field = _link(route.view.resource.model, name)
            if field is None or name not in route.view.resource.fields:
                continue
            theirs = known.get(field.related_model, {}).get("theirs") or world.theirs.member.user
            foreign = getattr(theirs, resource_key(field.related_model))
            unknown: Any = "aaaaaaaaaa" if isinstance(foreign, str) else 987654321
            if isinstance(foreign, UUID):
                foreign, unknown = str(foreign), str(UUID(int=7))
            told = []
            for value in (foreign, unknown):
                with undone():
                    answer = case.api.post(prefix, {**body, name: value})
                text = answer.content.decode()
                assert CANARY not in text
                # An id may be as short as "3": the status beside it is not what is named here.
                text = text.replace(f'"status":{answer.status_code}', "")
                told.append(
                    (answer.status_code, re.sub(rf"\b{re.escape(str(value))}\b", "it", text))
                )
            assert told[0] == told[1], (prefix, name)
            assert told[0][0] in {400, 403}, (prefix, name)
            tried += 1
    assert tried >= 20


def test_the_usage_report_adds_up_what_the_token_may_see(world: World):
    span = {"start": "2020-01-01T00:00:00Z", "end": "2020-12-01T00:00:00Z"}
    month = {"start": (clock.now() - timedelta(days=60)).isoformat().replace("+00:00", "Z")}
    operator, viewer = of_operator(), caller("viewer", world).api

    everything = operator.get("usage?" + urlencode({**month, "group_by": "tenant"})).json()
    own = viewer.get("usage?" + urlencode(month))

    assert [each["group"] for each in everything["data"]] == [
        str(world.ours.tenant.pk), str(world.theirs.tenant.pk),
    ]  # fmt: skip
    assert everything["data"][0]["cost_nano"] == 25_000_000
    assert [(each["group"], each["charge_nano"]) for each in own.json()["data"]] == [
        ("ours-alias", 50_000_000)
    ]
    assert "cost_nano" not in own.json()["data"][0]
    assert CANARY not in own.content.decode()
    assert operator.get("usage?" + urlencode(span)).json()["data"] == []
    for asked, status in (
        ({"tenant": world.theirs.tenant.pk}, 404),
        ({"tenant": 987654321}, 404),
        ({"tenant": "x"}, 404),
        ({"group_by": "x"}, 400),
        ({"start": "2020-01-01"}, 400),
        ({**span, "end": "2025-01-01T00:00:00Z"}, 400),
        ({"start": span["end"], "end": span["start"]}, 400),
        ({"more": "1"}, 400),
    ):
        assert viewer.get("usage?" + urlencode(asked)).status_code == status, asked
    assert caller("narrow", world).api.get("usage").status_code == 403


def _link(model: type[Model], name: str) -> Any:
    try:
        field: Any = model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return field if field.is_relation else None


def test_a_list_costs_as_many_queries_for_many_rows_as_for_few(world: World):
    few, many = caller("owner", world), of_operator()
    lists = [route for route in all_routes() if not route.is_one]
    for api in (few.api, many):
        api.get("keys")  # the time of the token's last use is noted once a minute
    for route in sampled(lists, default=15, ci=len(lists)):
        counted = []
        for api in (few.api, many) if route.prefix not in OF_PLATFORM else (many, many):
            with CaptureQueriesContext(connection) as seen:
                assert api.get(route.prefix).status_code == 200
            counted.append(len(seen))
        # Tokens of a tenant ask twice more, for what their maker may now, and once more for what is theirs.
        own = 2 + (route.prefix in PERSONAL)
        assert counted[0] - own <= counted[1] <= counted[0], (route.prefix, counted)
        assert counted[0] <= 6, (route.prefix, counted)
