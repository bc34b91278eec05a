"""codex_profile: print the two files that make Codex call this gateway."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib import public_address
from gateway_project.lib.commands import AnsweringCommand, CommandResult
from responses_api.resources import codex_profile
from routing import catalogue
from tenants import directory


class Command(AnsweringCommand):
    help = "Print the two files of a Codex profile for an alias."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("alias", help="the alias that Codex uses as its model")
        parser.add_argument(
            "--base-url",
            default=public_address.api_url(),
            help="including /v1; by default as TOLLGATE_PUBLIC_URL says, else http://127.0.0.1:8000/v1",
        )
        parser.add_argument(
            "--websockets",
            action="store_true",
            help="use a WebSocket, over which Codex sends only what is new in each step",
        )
        parser.add_argument("--tenant", help="the tenant that owns the alias")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant_or_platform(options["tenant"])
        alias = catalogue.alias_named(options["alias"], tenant)
        profile = codex_profile.profile(
            alias.name, options["base_url"], websockets=options["websockets"]
        )
        return CommandResult(dataclasses.asdict(profile), profile.in_words())
