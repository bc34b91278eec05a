"""set_limit: how many requests, tokens, other units or concurrent calls a tenant or a key may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult, parse_field
from tenants import directory
from tenants.access.access import OPERATOR
from tenants.managed.setting import put
from tenants.models import RateLimit


class Command(AnsweringCommand):
    help = "Make a rate limit, or change the one of this metric and window."
    routes = ("POST limits", "PATCH limits/{key}")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--tenant", required=True, help="slug or name")
        parser.add_argument("--key", metavar="ID", help="of this key; of all together by default")
        parser.add_argument(
            "--metric", required=True, help="requests, tokens, concurrency or the name of a unit"
        )
        parser.add_argument(
            "--window", default="", help="minute, hour or day; none for concurrency"
        )
        parser.add_argument("--amount", required=True, metavar="N", help="at most so many")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant(options["tenant"])
        key = directory.key(options["key"]) if options["key"] else None
        names = {
            "tenant": tenant,
            "api_key": key,
            "metric": options["metric"],
            "window": options["window"],
        }
        amount = parse_field("amount", _whole, options["amount"])
        limit, is_new = put(OPERATOR, RateLimit, names, {"amount": amount})
        fields = {
            "id": limit.pk,
            "tenant": tenant.slug,
            "key": key.public_id if key else None,
            "metric": limit.metric,
            "window": limit.window or None,
            "amount": limit.amount,
            "created": is_new,
        }
        return CommandResult(
            fields, f"Limit of {tenant.slug!r} {'made' if is_new else 'set'}: {limit}."
        )


def _whole(text: str) -> int:
    """Read a whole number. Raises ValueError."""
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise ValueError(f"{text[:40]!r} is not a whole number.")
    return int(text)
