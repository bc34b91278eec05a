"""rotate_secrets: seal every stored secret with the current key-encryption key."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from responses_api.enforcement import secrets as guardrail_secrets
from responses_api.webhooks import endpoints
from routing import credentials, key_rotation
from tenants.sign_in import identities, second_factor


class Command(AnsweringCommand):
    help = "Seal every stored secret anew with the first key-encryption key. Safe to repeat."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--new-key", action="store_true", help="make a new first key in the data directory"
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        rotation = key_rotation.rotate(
            credentials.rewrap_all,
            endpoints.rewrap_all,
            guardrail_secrets.rewrap_all,
            second_factor.rewrap_all,
            identities.rewrap_all,
            new_key=options["new_key"],
        )
        return CommandResult(
            dataclasses.asdict(rotation),
            f"{rotation.rewrapped} secret(s) sealed anew; all are under key {rotation.key_id!r}.",
        )
