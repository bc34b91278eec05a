"""reorder_targets: the models behind an alias are tried in another order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import parse_field
from routing import target_order
from routing.api.catalogue import AliasRows
from routing.models import Alias
from tenants.access.access import OPERATOR
from tenants.management.rows import ActOnRow


class Command(ActOnRow):
    help = "Let the models behind an alias be tried in another order."
    noun = "alias"
    rows = AliasRows
    routes = ("POST aliases/{key}/reorder",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--targets",
            required=True,
            metavar="ID,ID",
            help="all of them by their ids, the first one tried first; neighbours of one tier stay in it",
        )

    def act(self, row: Alias, options: Mapping[str, Any]) -> None:
        target_order.put_in_order(OPERATOR, row, parse_field("targets", _ids, options["targets"]))


def _ids(text: str) -> list[int]:
    """Read `3,1,2`. Raise ValueError."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdecimal() and len(word) < 19 for word in words):
        raise ValueError("Write ids, such as 3,1,2; list_targets shows them.")
    return [int(word) for word in words]
