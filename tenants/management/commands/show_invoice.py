"""show_invoice: one invoice or credit note, as text, JSON or PDF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants.billing import invoice_lists


class Command(AnsweringCommand):
    help = "Show an invoice or credit note, or write its document into files."
    routes = tuple(f"GET invoices/{{key}}{part}" for part in ("", "/json", "/pdf", "/html", "/csv"))

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "id", help="as list_invoices shows it, or the tenant's slug and the number: acme-7"
        )
        for kind in invoice_lists.KINDS:
            parser.add_argument(
                f"--{kind}",
                metavar="FILE",
                help=f"write the document into this file as {kind.upper()}",
            )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        invoice = invoice_lists.find(options["id"])
        files = {kind: options[kind] for kind in invoice_lists.KINDS if options[kind] is not None}
        return invoice_lists.write(invoice, files) if files else invoice_lists.shown(invoice)
