"""ledger_check: check that the books agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants.billing import selfcheck


class Command(AnsweringCommand):
    help = "Check rows, sums, invoices, credit and triggers; exit code 1 with what differs."

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        found = selfcheck.examine()
        text = "\n".join(found) or "The books agree."
        return CommandResult({"ok": not found, "differences": found}, text, ok=not found)
