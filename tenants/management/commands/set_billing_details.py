"""set_billing_details: whom a tenant's invoices are addressed to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants import directory
from tenants.managed import billing_details


class Command(AnsweringCommand):
    help = "Say whom a tenant's invoices are addressed to; what is not given stays as it is."
    routes = ("POST billing-details", "PATCH billing-details/{key}")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--tenant", required=True, help="slug or name")
        billing_details.add_to(parser, leave_out="payment")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        return billing_details.store(directory.tenant(options["tenant"]), options)
