"""sync_models: take over a provider's list of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from routing import catalogue, model_sync
from tenants import directory


class Command(AnsweringCommand):
    help = "Add the models a provider lists. Nothing is removed, and no alias is created."
    routes = ("POST providers/{key}/sync",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("provider", help="name of the provider")
        parser.add_argument("--tenant", help="the tenant whose provider it is")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant_or_platform(options["tenant"])
        provider = catalogue.provider_named(options["provider"], tenant)
        synced = model_sync.sync(provider)
        fields = {
            "provider": provider.name,
            "added": synced.added,
            "existing": synced.existing,
        }
        return CommandResult(fields, f"{provider.name}: {synced}")
