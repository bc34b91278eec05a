"""remove_guardrail: let pass what a guardrail did not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from gateway_project.lib.confirming import add_yes_option, confirm
from responses_api.enforcement import setup
from tenants import directory, managed
from tenants.access.access import OPERATOR


class Command(AnsweringCommand):
    help = "Remove a guardrail of the platform or of a tenant. Its events stay."
    routes = ("DELETE guardrails/{key}",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("name", help="what it is called")
        parser.add_argument("--tenant", help="of this tenant; of the platform when not given")
        add_yes_option(parser)

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        row = setup.named(options["name"], directory.tenant_or_platform(options["tenant"]))
        fields, text = setup.fields_of(row), setup.in_words(row)
        confirm(f"remove the guardrail {text}", options)
        managed.remove(OPERATOR, row)
        return CommandResult(fields, f"Removed {text}.")
