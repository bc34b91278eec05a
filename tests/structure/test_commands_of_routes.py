"""Each route of the management API has a command that does the same, and each option says what it is for.

Routes are read from the table of paths. A command about rows says by its class which route is its own; every
other names its routes (`AnsweringCommand.routes`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.core.management import load_command_class

from gateway_project import command_reference
from gateway_project.api_urls import urlpatterns
from tenants.api.rows import Rows
from tenants.management.questions import AskCommand
from tests.plugins.cases import cases

METHODS = ("get", "post", "patch", "delete")
# What has no command, with the reason.
WITHOUT_COMMAND = {
    "GET docs/": "a page that shows the schema",
    "GET openapi.yaml": "a file of the repository: docs/openapi/management.yaml",
    "PATCH grants/{key}": "neither of its fields changes; one is added or removed",
    "POST support-sessions": "a person acts as a tenant, whom its people are told; a command is none",
}
COMMANDS = {
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
