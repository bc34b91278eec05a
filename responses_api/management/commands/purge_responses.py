"""purge_responses: delete stored things that have expired."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from responses_api.storage import retention


class Command(AnsweringCommand):
    help = (
        "Delete expired responses, conversations and other stored data. "
        "This also happens every hour by itself."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--dry-run", action="store_true", help="count only, delete nothing")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        dry_run = options["dry_run"]
        counts = dataclasses.asdict(retention.count_expired() if dry_run else retention.purge())
        told = ", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in counts.items())
        return CommandResult(
            {"dry_run": dry_run, **counts}, f"{'Would delete' if dry_run else 'Deleted'} {told}."
        )
