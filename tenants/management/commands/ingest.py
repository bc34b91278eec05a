"""Read this host's usage spools into the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from gateway_project.lib.commands import Answer, AnsweringCommand
from tenants.ledger.ingest import ingest_all
from tenants.ledger.ingester import run_forever


class Command(AnsweringCommand):
    help = (
        "Reads this host's usage spools into the ledger until it is stopped. `serve` does that itself; run "
        "it on hosts that only run `background_worker`."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--once", action="store_true", help="read what there is now, and end")

    def answer(self, options: Mapping[str, Any]) -> Answer:
        if not options["once"]:
            run_forever(settings.SPOOL_DIR)
            return Answer({}, "Stopped.")
        found = ingest_all(settings.SPOOL_DIR)
        fields = {
            "rows": found.rows,
            "abandoned": found.abandoned,
            "spools": found.spools,
            "finished": found.finished,
        }
        text = f"{found.rows} rows, {found.abandoned} abandoned calls, from {found.spools} spools."
        return Answer(fields, text)
