"""import_prices: publish what the providers' models cost according to a public price list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib import clock
from gateway_project.lib.commands import AnsweringCommand, CommandResult
from routing import price_import


class Command(AnsweringCommand):
    help = "Compare the cost book with public list prices; with --publish, adopt them."
    routes = ("POST price-import",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--publish", action="store_true", help="publish what is new or changed")
        parser.add_argument("--provider", help="only this provider of the platform")
        parser.add_argument("--file", help="a price list instead of the packaged one; see the docs")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        prices, now = price_import.read(options["file"]), clock.now()
        changes = price_import.compare(prices, now, options["provider"])
        source = price_import.source_of(prices)
        published = 0
        if options["publish"]:
            published = price_import.publish(changes, source, "import_prices", now)
        counts = Counter(change.state for change in changes)
        fields: dict[str, Any] = {
            "source": source,
            "published": published,
            **{state: counts[state] for state in price_import.STATES},
            "models": [change.as_json() for change in changes],
        }
        end = (
            f"{published} published."
            if published
            else "Nothing was published; use --publish for that."
        )
        told = ", ".join(f"{counts[state]} {state}" for state in price_import.STATES)
        text = "\n".join([source, *(c.in_words() for c in changes), f"{told}. {end}"])
        return CommandResult(fields, text)
