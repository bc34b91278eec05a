"""show_invoice: one invoice or credit note, as text, JSON or PDF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants.billing import invoice_lists


class Command(AnsweringCommand):
    help = "Show an invoice or credit note, or write it into a PDF file."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "id", help="as list_invoices shows it, or the tenant's slug and the number: acme-7"
        )
        parser.add_argument(
            "--pdf", metavar="FILE", help="write the document into this file as PDF"
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        invoice = invoice_lists.find(options["id"])
        if options["pdf"] is not None:
            return invoice_lists.write_pdf(invoice, options["pdf"])
        return invoice_lists.shown(invoice)
