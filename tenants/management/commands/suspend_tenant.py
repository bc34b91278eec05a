"""suspend_tenant: refuse a tenant's keys, or let them in again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants import directory, suspension
from tenants.access.access import OPERATOR


class Command(AnsweringCommand):
    help = "Suspend a tenant: every worker refuses its keys within a second. --resume ends that."
    routes = ("POST tenants/{key}/suspend", "POST tenants/{key}/resume")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("slug", help="the tenant's slug")
        parser.add_argument("--resume", action="store_true", help="let its keys in again")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.by_slug(options["slug"])
        change = suspension.resume if options["resume"] else suspension.suspend
        change(tenant, OPERATOR)
        fields = {"tenant": tenant.slug, "status": tenant.status}
        return CommandResult(fields, f"Tenant {tenant.slug!r} is {tenant.status}.")
