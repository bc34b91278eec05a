"""check_upstream: a real call to every target of an alias."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from routing import probe
from tenants import directory


class Command(AnsweringCommand):
    help = "Call every target of an alias once. Exit code 1 if the first one fails."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("alias", help="an alias, or provider/model")
        parser.add_argument("--tenant", help="as a key of this tenant would be routed")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant_or_platform(options["tenant"])
        probes = probe.check(options["alias"], tenant)
        fields = {
            "alias": options["alias"],
            "ok": probes[0].ok,
            "targets": [found.as_json() for found in probes],
        }
        return CommandResult(fields, "\n".join(map(str, probes)), ok=probes[0].ok)
