"""Each button of the console has a route of the management API that does the same by the same function.

Both sides are read from the code: pages and their actions from the console's site, views from the API's
routes, and from each what functions of the domain they lead to. Nobody has to keep a list up to date.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType
from typing import Any

from django.contrib import admin as django_admin

from gateway_project.api_urls import urlpatterns
from tenants.console.pages import registered
from tests.support.call_graph import called, names_in, plain, reached

# What has no route, with the reason.
WITHOUT_ROUTE = {
    "page playground_token": "a token of a browser's session, for its page alone; programs have keys",
}
# Packages that decide nothing: they ask, show, describe and record.
ENTRIES = {"admin", "api", "views"}
WORDS = (
    *(
        "gateway_project.lib",
        "tenants.access",
        "tenants.audit",
        "tenants.console",
        "tenants.models",
    ),
    *("tenants.reports", "routing.reports", "responses_api.reports", "tenants.theme"),
    *("tenants.billing.money", "tenants.prices.dollars", "tenants.members.mail"),
    *("tenants.sign_in.proof", "responses_api.app_state"),
)
# What a resource answers, beside what it does.
ASKING = {"may", "visible", "reserved", "why_reserved", "hidden", "validate", "record"}
OF_RESOURCES = ("insert", "update", "remove", "prepare", "finish", "check_removal")

Action = tuple[str, FunctionType, type]


def is_domain(function: FunctionType) -> bool:
    module = function.__module__
    return not module.startswith(WORDS) and module.split(".")[1] not in ENTRIES


def actions() -> Iterator[Action]:
    """Yield every button of a row, every action on chosen rows, every page that takes a POST."""
    for model, page in django_admin.site._registry.items():
        kind: Any = type(page)
        for name in kind.row_actions():
            yield f"{model.__name__}.{name}", function(getattr(kind, name)), kind
        for action in page.actions or ():
            found = getattr(kind, action) if isinstance(action, str) else action
            yield f"{model.__name__}.{found.__name__}", function(found), kind
    for shown in registered():
        if "POST" in shown.methods:
            yield f"page {shown.name}", function(shown.respond), shown


def function(found: Any) -> FunctionType:
    known = plain(found)
    assert known is not None, found
    return known


def deeds(action: FunctionType, owner: type) -> set[FunctionType]:
    """Return the functions of the domain that an action calls, itself or by others of the console."""
    found: set[FunctionType] = set()
    seen: set[FunctionType] = set()
    ahead = [action]
    while ahead:
        here = ahead.pop()
        if here in seen:
            continue
        seen.add(here)
        for each in (*called(here, owner), *_of_resource(here, owner)):
            if is_domain(each):
                found.add(each)
            elif each.__module__.split(".")[1] in ENTRIES:
                ahead.append(each)
    return found


def _of_resource(here: FunctionType, owner: Any) -> Iterator[FunctionType]:
    """Yield the methods of the page's resource that a method of it calls."""
    names, resource = names_in(here.__code__), getattr(owner, "resource", None)
    if "resource" in names and resource is not None:
        found = (plain(getattr(type(resource), name, None)) for name in names - ASKING)
        yield from filter(None, found)


def views() -> set[type]:
    patterns = [each for part in urlpatterns for each in getattr(part, "url_patterns", ())]
    return {each.callback.cls for each in patterns if hasattr(each.callback, "cls")}


def served() -> set[FunctionType]:
    """Return all that routes of the API lead to."""
    found: set[FunctionType] = set()
    for view in views():
        members = (each for kind in view.__mro__ for each in vars(kind).values())
        for method in filter(None, map(plain, members)):
            found |= reached(method, view)
        resource = getattr(view, "resource", None)
        if resource is not None:
            for name in OF_RESOURCES:
                found |= reached(function(getattr(type(resource), name)), type(resource))
    return found


def test_every_console_action_is_a_route_of_the_management_api():
    routes = served()
    alone = {
        name for name, action, owner in actions() if not deeds(action, owner).intersection(routes)
    }

    assert alone == WITHOUT_ROUTE.keys()


def test_what_is_compared_is_what_actions_do():
    """Buttons that are known to change something lead to the function that does."""
    known = {name: deeds(action, owner) for name, action, owner in actions()}
    told = {name: {each.__name__ for each in found} for name, found in known.items()}

    assert len(told) > 30
    for name, deed in (
        ("ApiKey.rotate", "rotate"),
        ("ApiKey.revoke_chosen", "revoke"),
        ("Tenant.suspend", "suspend"),
        ("Invoice.finalize_chosen", "finalize"),
        ("StoredResponse.remove", "remove_all"),
        ("WebhookDelivery.send_again", "send_again"),
        ("page stop_request", "stop"),
    ):
        assert deed in told[name], (name, told[name])
