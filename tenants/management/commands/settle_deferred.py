"""settle_deferred: state what a call took whose settlement was deferred."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult, parse_field
from tenants.billing.money import exact_dollars
from tenants.ledger import corrections, naming


class Command(AnsweringCommand):
    help = "Settle a call whose row was deferred; once only."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("row", help="the request's id (x-request-id), or the row's")
        parser.add_argument("--leg", type=int, default=0, help="which upstream call of the request")
        parser.add_argument(
            "--tokens", required=True, help="such as input_fresh=120,output_visible=30"
        )
        parser.add_argument("--actor", default="settle_deferred", help="who says so")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        row = parse_field("row", lambda text: naming.row(text, options["leg"]), options["row"])
        usage = parse_field("tokens", naming.usage, options["tokens"])
        written = corrections.settle_deferred(row, usage, actor=options["actor"])
        charge = sum(added.charge_nano for added in written)
        rows = [str(added.pk) for added in written]
        fields = {"settles": str(row), "rows": rows, "charge_nano": charge}
        return CommandResult(fields, f"{row} is settled: it costs {exact_dollars(charge)} USD.")
