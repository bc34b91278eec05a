"""rebuild_rollups: sums by hour and day, from the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from gateway_project.lib.commands import Answer, AnsweringCommand
from tenants.billing import rollups, spans


class Command(AnsweringCommand):
    help = "Compute the sums of usage anew from the ledger's rows."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--from", help="date or instant, UTC; the first row's if left out")
        parser.add_argument("--to", help="date or instant, UTC; the last row's if left out")

    def answer(self, options: Mapping[str, Any]) -> Answer:
        start, end = spans.instant(options, "from"), spans.instant(options, "to")
        if start is not None and end is not None and start >= end:
            raise ValidationError({"from": "It is not before --to."})
        days = rollups.rebuild(start, end)
        return Answer({"days": days}, f"The sums of {days} days were computed anew.")
