"""issue_invoices: draft invoices become final."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants import directory
from tenants.billing import invoices
from tenants.billing.money import dollars


class Command(AnsweringCommand):
    help = "Number and finalize draft invoices, of one tenant or of all."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--tenant", help="only this tenant's")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        issued = invoices.issue(directory.tenant_or_platform(options["tenant"]))
        fields = [
            {"tenant": i.tenant.slug, "number": i.number, "total_cents": i.total_cents}
            for i in issued
        ]
        lines = [
            f"{i.tenant.slug} {i.number}: {dollars(i.total_cents)} {i.currency}" for i in issued
        ]
        return CommandResult({"invoices": fields}, "\n".join([*lines, f"{len(issued)} issued."]))
