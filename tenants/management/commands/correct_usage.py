"""correct_usage: correct what the ledger says of a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult, parse_field
from tenants.billing.money import exact_dollars
from tenants.ledger import corrections, naming


class Command(AnsweringCommand):
    help = "Correct a call: write rows that reverse its row and state the right amounts."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("row", help="the request's id (x-request-id), or the row's")
        parser.add_argument("--leg", type=int, default=0, help="which upstream call of the request")
        how = parser.add_mutually_exclusive_group(required=True)
        how.add_argument("--tokens", help="such as input_fresh=120,output_visible=30")
        how.add_argument("--void", action="store_true", help="the call took no tokens")
        parser.add_argument("--reason", required=True, help="why; kept with the correction")
        parser.add_argument("--actor", default="correct_usage", help="who says so")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        row = parse_field("row", lambda text: naming.row(text, options["leg"]), options["row"])
        usage = None if options["void"] else parse_field("tokens", naming.usage, options["tokens"])
        written = corrections.correct(row, usage, reason=options["reason"], actor=options["actor"])
        change = sum(added.charge_nano for added in written)
        fields = {
            "corrects": str(row),
            "rows": [str(added.pk) for added in written],
            "charge_change_nano": change,
        }
        return CommandResult(
            fields, f"{row} is corrected: its charge changes by {exact_dollars(change)} USD."
        )
