"""purge_responses: delete what has been kept long enough."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import Answer, AnsweringCommand
from responses_api.storage import retention


class Command(AnsweringCommand):
    help = "Delete stored responses and what else has expired, as happens every hour by itself."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--dry-run", action="store_true", help="only count, delete nothing")

    def answer(self, options: Mapping[str, Any]) -> Answer:
        dry_run = options["dry_run"]
        counts = dataclasses.asdict(retention.expired() if dry_run else retention.purge())
        told = ", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in counts.items())
        return Answer(
            {"dry_run": dry_run, **counts}, f"{'Would delete' if dry_run else 'Deleted'} {told}."
        )
