"""reset_circuit: close a circuit on all workers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from gateway_project.lib.errors import NotFound
from responses_api.live import circuits
from responses_api.management.commands.show_circuits import circuits_elsewhere
from tenants.access.access import OPERATOR


class Command(AnsweringCommand):
    help = "Close a circuit, so that the next call tries what it is for."
    routes = ("POST circuits/reset",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("circuit", help="its name, as show_circuits prints it")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        known, name = circuits_elsewhere(), options["circuit"]
        try:
            closed = asyncio.run(circuits.reset(known, OPERATOR, name))
        except NotFound as error:
            raise ValidationError({"circuit": error.message}) from error
        return CommandResult({"circuit": closed.name}, f"{closed.name} is closed.")
