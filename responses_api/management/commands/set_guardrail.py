"""set_guardrail: change a guardrail, or switch it on or off."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.db.models import Model

from responses_api.api.guardrails import GuardrailRows
from responses_api.enforcement import setup
from responses_api.models import Guardrail
from tenants.management.rows import SetRow


class Command(SetRow):
    help = "Change a guardrail of the platform or of a tenant. What no option names stays as it is."
    rows = GuardrailRows

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--enable", action="store_const", const=True, dest="enabled", help="as --enabled"
        )
        parser.add_argument(
            "--disable", action="store_const", const=False, dest="enabled", help="as --no-enabled"
        )

    def tell(self, row: Model, once: dict[str, Any] | None = None) -> dict[str, Any]:
        assert isinstance(row, Guardrail)
        return {**super().tell(row, once), **setup.fields_of(row)}
