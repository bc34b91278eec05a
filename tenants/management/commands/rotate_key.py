"""rotate_key: a new secret for a key, while the old one goes on for a while."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib import durations
from gateway_project.lib.commands import AnsweringCommand, CommandResult, parse_field
from tenants import directory
from tenants.keys import key_changes


class Command(AnsweringCommand):
    help = "Give an API key a new secret; the old one works until the overlap is over."
    routes = ("POST keys/{key}/rotate",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("id", help="the key's id, as create_key printed it")
        parser.add_argument("--overlap", default="24h", help="0s to 30d; 24h by default")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        overlap = parse_field("overlap", durations.parse, options["overlap"])
        rotated = key_changes.rotate(directory.key(options["id"]), overlap)
        ends_at = rotated.old_secret_ends_at
        moment = ends_at.isoformat() if ends_at is not None else None
        secret = rotated.secret.reveal()
        return CommandResult(
            {"id": rotated.key_id, "key": secret, "old_secret_ends_at": moment},
            f"New secret, shown only once:\n  {secret}\nThe old one ends at {moment}.",
        )
