"""finalize_invoice: a draft gets its number and never changes again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants.billing import invoice_lists


class Command(AnsweringCommand):
    help = (
        "Give a draft its number, pay it from credit and close it; issue_invoices does so for all."
    )
    routes = ("POST invoices/{key}/finalize",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("id", help="as list_invoices shows it")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        return invoice_lists.finalize(options["id"])
