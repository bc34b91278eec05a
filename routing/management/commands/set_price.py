"""set_price: set what a model costs us, or what an alias is charged at, from now on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib import clock
from gateway_project.lib.commands import AnsweringCommand, CommandResult
from routing import price_setting
from routing.management.price_options import add_price_options
from tenants import units
from tenants.prices import dollars, publishing
from tenants.token_classes import TOKEN_CLASSES


class Command(AnsweringCommand):
    help = "Publish prices in dollars, of an alias or of a provider's model."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_price_options(parser)
        parser.add_argument(
            "--ahead",
            action="store_true",
            help="before there is an alias or model of this name; without it such a price is refused",
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        names = ("alias", "tenant", "provider", "model")
        named = price_setting.Named(**{name: options[name] for name in names})
        version = price_setting.publish(
            named, options, "set_price", clock.now(), is_ahead=options["ahead"]
        )
        known = price_setting.is_known(version)
        lines = publishing.lines_of(version)
        prices = {
            line.token_class: dollars.said(
                line.pico_per_token, units.of(line.token_class).priced_per
            )
            for line in lines
        }
        of_tokens = {name: price for name, price in prices.items() if name in TOKEN_CLASSES}
        of_units = {name: price for name, price in prices.items() if name not in TOKEN_CLASSES}
        fields = {
            "version": version.pk,
            "book": version.book,
            "subject": version.subject,
            "tenant": version.tenant.slug if version.tenant else None,
            "effective_from": version.effective_from.isoformat(),
            "dollars_per_million": of_tokens,
            **({"dollars_per_unit": of_units} if of_units else {}),
            "known": known,
        }
        told = ", ".join(f"{name} ${price}" for name, price in of_tokens.items())
        told += "".join(f"; ${price} per {units.of(name).per}" for name, price in of_units.items())
        warning = "" if known else " Nothing with that name exists yet."
        return CommandResult(fields, f"{version}, per million tokens: {told}.{warning}")
