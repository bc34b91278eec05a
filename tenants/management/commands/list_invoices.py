"""list_invoices: invoices and credit notes, newest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult, page
from tenants import directory
from tenants.billing import invoice_lists
from tenants.models import Invoice


class Command(AnsweringCommand):
    routes = ("GET invoices",)
    help = "List invoices and credit notes, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--tenant", help="only this tenant's, by slug or name")
        parser.add_argument(
            "--state", choices=Invoice.State.values, help="only those in this state"
        )
        parser.add_argument("--month", help="only of this month, such as 2026-10")
        parser.add_argument(
            "--limit",
            type=int,
            default=100,
            help="at most so many, 1 to 10000; 100 by default; there is no next page",
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        found = invoice_lists.newest(
            directory.tenant_or_platform(options["tenant"]),
            state=options["state"],
            month=options["month"],
            limit=options["limit"],
        )
        fields = [invoice_lists.fields(invoice) for invoice in found]
        return CommandResult(page(fields), invoice_lists.table(found))
