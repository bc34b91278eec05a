"""remove_billing_details: a tenant's invoices are addressed to its name alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from gateway_project.lib.confirming import add_yes_option, confirm
from tenants import directory
from tenants.managed import billing_details


class Command(AnsweringCommand):
    help = "Remove whom a tenant's invoices are addressed to; those that were finalized keep it."
    routes = ("DELETE billing-details/{key}",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--tenant", required=True, help="slug or name")
        add_yes_option(parser)

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant(options["tenant"])
        confirm(f"remove the billing details of tenant {tenant.slug!r}", options)
        return billing_details.remove(tenant)
