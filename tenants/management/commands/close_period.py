"""close_period: a month that is over becomes a draft invoice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants import directory
from tenants.billing import periods


class Command(AnsweringCommand):
    help = "Close a billing period that is over, before the hourly job does."
    routes = ("POST billing-periods/{key}/close",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--tenant", required=True, help="slug or name")
        parser.add_argument("--month", required=True, help="such as 2026-10")
        parser.add_argument(
            "--force",
            action="store_true",
            help="although usage may still arrive (billed with the next month)",
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant(options["tenant"])
        period = periods.of_month(tenant, options["month"])
        period = periods.close(period, force=options["force"])
        fields = {
            "tenant": tenant.slug,
            "month": options["month"],
            "state": period.state,
            "was_complete": period.was_complete,
        }
        return CommandResult(fields, f"{options['month']} of {tenant.slug!r} is {period.state}.")
