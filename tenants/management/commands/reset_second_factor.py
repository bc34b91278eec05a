"""reset_second_factor: let somebody in who lost their second factor and their recovery codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants.sign_in import operators, second_factor


class Command(AnsweringCommand):
    help = (
        "Take away a person's second factors, passkeys and recovery codes, and end their sessions."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("username", help="the name they sign in with")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        user = operators.find(options["username"])
        removed = second_factor.reset(user)
        return CommandResult(
            {"username": user.username, "removed": removed},
            f"{user.username!r} signs in with the password alone from now on; {removed} factor(s) removed.",
        )
