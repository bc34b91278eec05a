"""set_guardrail: change a guardrail, or switch it on or off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from responses_api.enforcement import setup
from responses_api.models import Guardrail
from tenants import directory, managed
from tenants.access.access import OPERATOR


class Command(AnsweringCommand):
    help = "Change a guardrail of the platform or of a tenant."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("name")
        parser.add_argument("--tenant", help="of this tenant; of the platform when not given")
        parser.add_argument("--action", choices=Guardrail.Action.values)
        parser.add_argument("--config", metavar="JSON", help="what it looks for")
        parser.add_argument("--on-failure", choices=Guardrail.OnFailure.values)
        parser.add_argument("--timeout-ms", type=int)
        switch = parser.add_mutually_exclusive_group()
        switch.add_argument("--enable", action="store_const", const=True, dest="enabled")
        switch.add_argument("--disable", action="store_const", const=False, dest="enabled")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        row = setup.named(options["name"], directory.tenant_or_platform(options["tenant"]))
        names = ("action", "on_failure", "timeout_ms", "enabled")
        given = {name: options[name] for name in names if options[name] is not None}
        if options["config"] is not None:
            given["config"] = setup.read_config(options["config"])
        changed = managed.change(OPERATOR, row, given)
        return CommandResult(setup.fields_of(changed), f"Now {setup.in_words(changed)}.")
