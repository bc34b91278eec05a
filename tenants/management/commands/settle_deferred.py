"""settle_deferred: say what a call took that was left to be settled later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import Answer, AnsweringCommand, parsed
from tenants.billing.money import exact_dollars
from tenants.ledger import corrections, naming


class Command(AnsweringCommand):
    help = "Settle a call whose row is deferred, once."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("row", help="the request's id (x-request-id), or the row's")
        parser.add_argument("--leg", type=int, default=0, help="which call of the request")
        parser.add_argument(
            "--tokens", required=True, help="such as input_fresh=120,output_visible=30"
        )
        parser.add_argument("--actor", default="settle_deferred", help="who says so")

    def answer(self, options: Mapping[str, Any]) -> Answer:
        row = parsed("row", lambda text: naming.row(text, options["leg"]), options["row"])
        usage = parsed("tokens", naming.usage, options["tokens"])
        written = corrections.settle_deferred(row, usage, actor=options["actor"])
        charge = sum(added.charge_nano for added in written)
        rows = [str(added.pk) for added in written]
        fields = {"settles": str(row), "rows": rows, "charge_nano": charge}
        return Answer(fields, f"{row} is settled: it costs {exact_dollars(charge)} USD.")
