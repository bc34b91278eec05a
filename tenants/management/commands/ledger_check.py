"""ledger_check: check that the books agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import (
    AnsweringCommand,
    CommandResult,
    add_progress_option,
    progress_of,
)
from tenants.billing import selfcheck


class Command(AnsweringCommand):
    help = "Check rows, sums, invoices, credit and triggers; exit code 1 with what differs."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_progress_option(parser)

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        found = selfcheck.examine(progress_of(options))
        text = "\n".join(found) or "The books agree."
        return CommandResult({"ok": not found, "differences": found}, text, ok=not found)
