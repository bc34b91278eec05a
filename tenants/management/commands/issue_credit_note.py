"""issue_credit_note: lines of a finalized invoice are taken back, in whole or in part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants.billing import invoice_lists


class Command(AnsweringCommand):
    help = "Take back cents of lines of a finalized invoice by a credit note."
    routes = ("POST invoices/{key}/credit-note",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("id", help="of the invoice: as list_invoices shows it, or acme-7")
        parser.add_argument("--reason", required=True, help="what the credit note says it is for")
        parser.add_argument(
            "--line",
            dest="lines",
            metavar="POSITION=CENTS",
            action="append",
            required=True,
            help="a line of the invoice and what is taken back of it; once for each line",
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        return invoice_lists.credit(options["id"], options["lines"], options["reason"])
