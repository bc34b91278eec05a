"""explain_route: where a call would go, and why; nothing is called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from responses_api.calls import explain_words
from responses_api.calls.explain import RouteQuestion, explain
from tenants import directory
from tenants.access.access import OPERATOR


class Command(AnsweringCommand):
    help = "Explain where a call would go, and why; nothing is called."
    routes = ("POST explain-route",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("alias", help="an alias, or provider/model")
        parser.add_argument("--tenant", help="as a key of this tenant would be routed")
        parser.add_argument("--key", help="as this key would be routed: its public id")
        parser.add_argument("--route", default="", help="the client's format, such as chat")
        parser.add_argument("--body", type=Path, metavar="FILE", help="the request's JSON")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        question = RouteQuestion(
            model=options["alias"],
            tenant=directory.tenant_or_platform(options["tenant"]),
            key=directory.key(options["key"]) if options["key"] else None,
            route=options["route"],
            body=explain_words.body_in(options["body"]) if options["body"] else None,
        )
        found = explain(OPERATOR, question)
        return CommandResult(
            explain_words.as_json(found), explain_words.as_text(found), ok=not found.refusal
        )
