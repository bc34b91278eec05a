"""purge_cache: give none of an alias's kept answers again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from routing import cache_purge, catalogue
from tenants import directory


class Command(AnsweringCommand):
    help = "Give none of the answers again that an alias, and links to it, have kept until now."
    routes = ("POST aliases/{key}/purge_cache",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("alias", help="name of the alias")
        parser.add_argument("--tenant", help="the tenant whose alias it is")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant_or_platform(options["tenant"])
        row = cache_purge.purge(catalogue.alias_named(options["alias"], tenant))
        fields = {"alias": row.name, "cache_generation": row.cache_generation}
        return CommandResult(fields, f"{row.name}: answers kept until now are not given again.")
