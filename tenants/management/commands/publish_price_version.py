"""publish_price_version: a draft of prices counts, and never changes afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib import actor, clock
from tenants.api.money import PriceRows
from tenants.management.rows import ActOnRow
from tenants.models import PriceVersion
from tenants.prices import publishing


class Command(ActOnRow):
    help = "Publish a draft of prices; it never changes afterwards."
    rows = PriceRows
    routes = ("POST prices/{key}/publish",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--or-from-now",
            action="store_true",
            help="from now on, if the instant it was made for is past",
        )

    def act(self, row: PriceVersion, options: Mapping[str, Any]) -> None:
        by = actor.current().name[:200]
        publishing.publish(row, by, clock.now(), or_from_now=options["or_from_now"])
