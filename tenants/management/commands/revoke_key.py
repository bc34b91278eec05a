"""revoke_key: end an API key for good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants import directory
from tenants.keys import key_changes


class Command(AnsweringCommand):
    help = "Revoke an API key; every worker refuses it within a second."
    routes = ("POST keys/{key}/revoke",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("id", help="the key's id, as create_key printed it")
        parser.add_argument(
            "--reason", default="", help="kept with the key, at most 200 characters"
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        key = directory.key(options["id"])
        key_changes.revoke(key, options["reason"])
        moment = key.revoked_at.isoformat() if key.revoked_at is not None else None
        return CommandResult(
            {"id": key.public_id, "revoked_at": moment, "reason": key.revoked_reason},
            f"Key {key.name!r} ({key.public_id}) was revoked at {moment}.",
        )
