"""reconcile: a provider's bill against our sums."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants.billing import reconciling


class Command(AnsweringCommand):
    help = "Compare a provider's usage with the ledger's; exit code 1 where they differ."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--provider-csv", required=True, help=", ".join(reconciling.COLUMNS))
        parser.add_argument("--provider", help="only what was sent to this provider")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        path = Path(options["provider_csv"])
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ValidationError({"provider_csv": f"{str(path)!r} cannot be read."}) from error
        compared, found = reconciling.differences(lines, options["provider"])
        fields = {"compared": compared, "differences": [one.fields() for one in found]}
        told = [str(one) for one in found]
        text = "\n".join([*told, f"{compared} days and models compared, {len(found)} differ."])
        return CommandResult(fields, text, ok=not found)
