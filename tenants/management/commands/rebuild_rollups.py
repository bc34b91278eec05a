"""rebuild_rollups: sums by hour and day, from the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from gateway_project.lib.commands import (
    AnsweringCommand,
    CommandResult,
    add_progress_option,
    progress_of,
)
from tenants.billing import rollups, spans


class Command(AnsweringCommand):
    help = "Recompute the sums of usage from the ledger's rows."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--from", help="date or instant, UTC; the first row's if left out")
        parser.add_argument("--to", help="date or instant, UTC; the last row's if left out")
        add_progress_option(parser)

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        start, end = spans.instant(options, "from"), spans.instant(options, "to")
        if start is not None and end is not None and start >= end:
            raise ValidationError({"from": "It must be before --to."})
        days = rollups.rebuild(start, end, progress_of(options))
        return CommandResult({"days": days}, f"The sums of {days} days were recomputed.")
