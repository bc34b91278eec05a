"""export_config: write the configuration as a file that apply reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants import directory
from tenants.access.access import OPERATOR
from tenants.configuration import exporting


class Command(AnsweringCommand):
    help = "Print the configuration, without secrets, as the file that apply reads."
    routes = ("GET configuration",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--tenant", help="only this tenant; the platform and all when not given"
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        text = exporting.export(OPERATOR, directory.tenant_or_platform(options["tenant"]))
        return CommandResult({"configuration": text}, text.rstrip("\n"))
