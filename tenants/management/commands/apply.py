"""apply: make the configuration like a file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants.access.access import OPERATOR
from tenants.configuration import applying, document
from tenants.configuration.secrets import SecretsOfHost


class Command(AnsweringCommand):
    help = "Make providers, aliases, prices, tenants and what they have like a file says."
    routes = ("POST configuration",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", metavar="FILE", help="YAML, see the docs; - for standard input")
        parser.add_argument("--dry-run", action="store_true", help="only print what would change")
        parser.add_argument(
            "--prune",
            action="store_true",
            help="remove what apply made and the file's sections no longer name",
        )
        parser.add_argument(
            "--show-secrets",
            action="store_true",
            help="print the secrets of new keys and webhooks, which nobody can read later",
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        path, dry_run = options["file"], options["dry_run"]
        folder = Path.cwd() if path == "-" else Path(path).resolve().parent
        plan = applying.apply(
            OPERATOR,
            document.read(_content(path)),
            SecretsOfHost(folder),
            prune=options["prune"],
            dry_run=dry_run,
        )
        with_secrets = options["show_secrets"] and not dry_run
        return CommandResult(
            plan.as_json(dry_run=dry_run, with_secrets=with_secrets),
            plan.in_words(dry_run=dry_run, with_secrets=with_secrets),
        )


def _content(path: str) -> bytes:
    """Return as much of the file as is looked at."""
    try:
        if path == "-":
            return sys.stdin.buffer.read(document.MOST_BYTES + 1)
        with Path(path).open("rb") as file:
            return file.read(document.MOST_BYTES + 1)
    except OSError as error:
        raise ValidationError({"file": f"{path!r} cannot be read: {error.strerror}."}) from error
