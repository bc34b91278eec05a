"""quickstart: migrate, seed, and tell how to make the first call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project import quickstart
from gateway_project.lib.commands import AnsweringCommand, CommandResult


class Command(AnsweringCommand):
    help = "Migrate and seed what is missing, then print addresses, key and password. Repeatable."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--base-url",
            help="where clients reach the API, including /v1; by default as TOLLGATE_PUBLIC_URL says, else "
            "as in the last run",
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        found = quickstart.ensure(options["base_url"])
        return CommandResult(found.as_json(), quickstart.announce(found))
