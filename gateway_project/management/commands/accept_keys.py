"""accept_keys: take this host's key files for the database's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from routing import credentials
from tenants.keys import fingerprints, peppers


class Command(AnsweringCommand):
    help = (
        "Take this host's peppers and key-encryption keys for the database's from now on. For the case that "
        "the earlier ones are lost: API keys and credentials made with those stay unusable."
    )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        rings = {
            fingerprints.PEPPER: peppers.keyring(),
            fingerprints.ENCRYPTION: credentials.keyring(),
        }
        with transaction.atomic():
            for kind, ring in rings.items():
                fingerprints.accept(kind, ring)
        fields = {kind.value: list(ring.all()) for kind, ring in rings.items()}
        return CommandResult(fields, "This host's keys are now the database's keys.")
