"""preview_price: what a price would have come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from gateway_project.lib import clock
from gateway_project.lib.commands import AnsweringCommand, CommandResult
from routing import price_setting
from routing.api.prices import shown_preview
from routing.management.price_options import add_price_options
from routing.reports import repricing
from tenants.management.row_words import plain, told_in_lines


class Command(AnsweringCommand):
    help = "Tell what the tokens of 30 days come to by the price that holds, and by another. Nothing changes."
    routes = ("POST price-preview",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_price_options(parser)

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        names = ("alias", "tenant", "provider", "model")
        named = price_setting.Named(**{name: options[name] for name in names})
        lines = price_setting.lines(options)
        try:
            found = repricing.preview(named.subject(), lines, clock.now())
        except ValueError as error:
            raise ValidationError(str(error)) from error
        told = plain(shown_preview(found))
        return CommandResult(told, told_in_lines(told))
