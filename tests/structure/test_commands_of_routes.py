"""Each route of the management API has a command that does the same, and each option says what it is for.

Routes are read from the table of paths. A command about rows says by its class which route is its own; every
other names its routes (`AnsweringCommand.routes`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from django.core.management import load_command_class

from gateway_project import command_reference
from gateway_project.api_urls import urlpatterns
from tenants.api.rows import Rows
from tenants.management.questions import AskCommand
from tenants.management.rows import ShowRow
from tests.plugins.cases import cases
from tests.support.call_graph import plain, reached

# What does so by functions of its own, with the reason.
APART = {
    "add_alias": "makes or replaces an alias with its targets, modes and models in one go",
    "add_provider": "makes a provider with its credential, as quickstart does",
    "create_tenant": "makes a tenant as quickstart does",
    "list_guardrails": "lists those that apply to a tenant, in the order in which they do",
    "list_guardrail_events": "lists the newest last, as a log is read",
}
OF_RESOURCES = ("insert", "update", "remove", "prepare", "finish", "check_removal")
WORDS = (
    *(
        "gateway_project.lib",
        "tenants.access",
        "tenants.audit",
        "tenants.models",
        "tenants.directory",
    ),
    *("tenants.managed.naming", "tenants.managed.values", "tenants.managed.typed"),
    *("routing.models", "responses_api.models"),
)
METHODS = ("get", "post", "patch", "delete")
# What has no command, with the reason.
WITHOUT_COMMAND = {
    "GET docs/": "a page that shows the schema",
    "GET openapi.yaml": "a file of the repository: docs/openapi/management.yaml",
    "PATCH grants/{key}": "neither of its fields changes; one is added or removed",
    "POST support-sessions": "a person acts as a tenant, whom its people are told; a command is none",
}
COMMANDS: dict[str, Any] = {
    name: load_command_class(app, name) for name, app in command_reference.our_commands().items()
}


def routes() -> Iterator[tuple[str, type, str]]:
    """Yield each route with its view and what that does; patterns name their keys in braces."""
    for part in urlpatterns:
        for pattern in getattr(part, "url_patterns", [part]):
            path = re.sub(r"<str:(\w+)>", r"{\1}", str(pattern.pattern))
            view: Any = getattr(pattern.callback, "cls", None)
            if view is None:
                if path:
                    yield f"GET {path}", object, "get"
                continue
            actions = getattr(pattern.callback, "actions", None) or {name: name for name in METHODS}
            for method in METHODS:
                action = actions.get(method, "")
                if hasattr(view, action):
                    yield f"{method.upper()} {path}", view, action


def of_command(command: Any) -> set[str]:
    """Return the routes that a command says it does."""
    found = set(getattr(command, "routes", ()))
    if hasattr(command, "rows") and hasattr(command, "verb"):
        found |= {
            route
            for route, view, action in routes()
            if issubclass(view, Rows) and view is command.rows and action == command.verb
        }
    return found


def test_every_route_has_a_command_or_a_reason() -> None:
    known = {route for route, _, _ in routes()}
    done = {route for command in COMMANDS.values() for route in of_command(command)}
    assert len(known) > 150
    assert sorted(known - done - WITHOUT_COMMAND.keys()) == []
    assert sorted(done - known) == []  # no command names a route that is none
    assert sorted(WITHOUT_COMMAND.keys() & done) == []
    assert sorted(WITHOUT_COMMAND.keys() - known) == []


def is_domain(function: FunctionType) -> bool:
    """Tell whether a function does something, or knows it: not how it is asked for, said, or looked up."""
    module = function.__module__
    return not module.startswith(WORDS) and module.split(".")[1] not in {"api", "management"}


def deeds(start: Any, owner: type) -> set[FunctionType]:
    function = plain(start)
    assert function is not None, start
    found = set(reached(function, owner))
    if (resource := getattr(owner, "resource", None)) is not None:
        kind = type(resource)
        methods = (plain(getattr(kind, name)) for name in OF_RESOURCES)
        found |= {each for method in filter(None, methods) for each in reached(method, kind)}
    return {each for each in found if is_domain(each)}


def test_a_command_does_what_its_route_does_by_the_same_function() -> None:
    served = {
        route: deeds(getattr(view, action), view)
        for route, view, action in routes()
        if view is not object
    }
    apart = [
        name
        for name, command in COMMANDS.items()
        for route in getattr(command, "routes", ())
        if not isinstance(command, AskCommand | ShowRow)  # whose functions are values of the class
        and not deeds(type(command).answer, type(command)) & served[route]
    ]
    assert sorted(apart) == sorted(APART)
    assert {each.__name__ for each in served["POST keys/{key}/rotate"]} >= {"rotate"}


def test_a_command_asks_the_view_of_the_route_it_names() -> None:
    views = {route: view for route, view, _ in routes()}
    wrong = [
        name
        for name, command in COMMANDS.items()
        if isinstance(command, AskCommand)
        and [views[each] for each in command.routes] != [command.view]
    ]
    assert wrong == []


@cases("name", sorted(COMMANDS))
def test_every_option_says_what_it_is_for(name: str) -> None:
    assert command_reference.unexplained(COMMANDS[name], name) == []
