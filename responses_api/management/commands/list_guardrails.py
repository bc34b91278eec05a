"""list_guardrails: what may not pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult, page
from responses_api.enforcement import setup
from tenants import directory


class Command(AnsweringCommand):
    help = "List the guardrails of the platform, and those of a tenant."
    routes = ("GET guardrails",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--tenant", help="also those of this tenant")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        rows = setup.listed(directory.tenant_or_platform(options["tenant"]))
        text = "\n".join(map(setup.in_words, rows)) or "There is no guardrail."
        return CommandResult(page([setup.fields_of(row) for row in rows]), text)
