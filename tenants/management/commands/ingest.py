"""ingest: read this host's usage spools into the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants.ledger.ingest import ingest_all
from tenants.ledger.ingester import run_forever


class Command(AnsweringCommand):
    help = (
        "Reads this host's usage spools into the ledger until it is stopped. `serve` does that itself; run "
        "it on hosts that only run `background_worker`."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--once", action="store_true", help="read what is there now, and exit")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        if not options["once"]:
            run_forever(settings.SPOOL_DIR, settings.SPOOL_ARCHIVE_DAYS, settings.MEASURED_DIR)
            return CommandResult({}, "Stopped.")
        found = ingest_all(settings.SPOOL_DIR)
        fields = {
            "rows": found.rows,
            "abandoned": found.abandoned,
            "spools": found.spools,
            "finished": found.finished,
            "set_aside": found.set_aside,
            "failed": found.failed,
        }
        text = f"{found.rows} rows, {found.abandoned} abandoned calls, from {found.spools} spools."
        if found.set_aside:
            text += f" {found.set_aside} records could not be booked and were set aside."
        if found.failed:
            text += f" {found.failed} spools could not be read; the log says why."
        return CommandResult(fields, text, ok=not found.failed)
