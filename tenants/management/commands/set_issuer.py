"""set_issuer: who issues invoices, by which terms and tax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants.managed import billing_details


class Command(AnsweringCommand):
    help = "Say who issues invoices; what is not given stays as it is."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        billing_details.add_to(parser, leave_out="reference")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        return billing_details.store(None, options)
