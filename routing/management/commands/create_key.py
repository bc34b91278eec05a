"""create_key: a new API key of a tenant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib import durations
from gateway_project.lib.commands import AnsweringCommand, CommandResult, parse_field
from routing import grants
from tenants import directory
from tenants.budgets import dollars


class Command(AnsweringCommand):
    help = "Create an API key. Its secret is shown only once."
    routes = ("POST keys",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--tenant", required=True, help="slug of the tenant")
        parser.add_argument("--name", required=True, help="what the key is for")
        parser.add_argument("--aliases", help="a,b: only these aliases; all of them by default")
        parser.add_argument("--expires", help="lifetime, such as 30d; unlimited by default")
        parser.add_argument(
            "--scopes",
            help="a,b: what it may do (generate, models, read, store); everything by default",
        )
        parser.add_argument(
            "--limit",
            action="append",
            default=[],
            metavar="METRIC:N/WINDOW",
            help="requests:60/minute, tokens:100000/day or concurrency:5; may be given several times",
        )
        parser.add_argument(
            "--budget", metavar="DOLLARS[/PERIOD]", help="such as 25.00/monthly; monthly by default"
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        names, expires, scopes = options["aliases"], options["expires"], options["scopes"]
        budget = options["budget"]
        key, secret = grants.create_key(
            directory.tenant(options["tenant"]),
            options["name"],
            aliases=None if names is None else _split(names),
            scopes=None if scopes is None else _split(scopes),
            lifetime=None if expires is None else parse_field("expires", durations.parse, expires),
            limits=[parse_field("limit", _limit, text) for text in options["limit"]],
            budget=None if budget is None else parse_field("budget", _budget, budget),
        )
        return CommandResult(
            {"id": key.public_id, "key": secret.reveal()},
            f"Key {key.name!r} of {key.tenant.slug!r}, id {key.public_id}, shown only once:\n"
            f"  {secret.reveal()}",
        )


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _limit(text: str) -> dict[str, Any]:
    """Read `requests:60/minute`. Raises ValueError."""
    metric, _, rest = text.partition(":")
    amount, _, window = rest.partition("/")
    if not (amount.isascii() and amount.isdecimal() and len(amount) < 19):
        raise ValueError(f"{text[:60]!r} is not a limit; write one like requests:60/minute.")
    return {"metric": metric, "amount": int(amount), "window": window}


def _budget(text: str) -> dict[str, Any]:
    """Read `25.00/monthly`. Raises ValueError."""
    amount, _, period = text.partition("/")
    return {"amount_nano": dollars.to_nano(amount), **({"period": period} if period else {})}
