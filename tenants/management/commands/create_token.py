"""create_token: a token of the management API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib import clock, durations
from gateway_project.lib.commands import AnsweringCommand, CommandResult, parse_field
from tenants import directory, managed
from tenants.access.access import OPERATOR
from tenants.models import ApiToken


class Command(AnsweringCommand):
    help = "Create a token of the management API. It is shown only once."
    routes = ("POST tokens",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--name", required=True, help="what the token is for")
        parser.add_argument(
            "--tenant", help="slug of the tenant; the platform's, for every tenant, when not given"
        )
        parser.add_argument(
            "--scopes",
            default="*",
            help="a,b: what it may do, such as keys.view or limits.*; everything by default",
        )
        parser.add_argument("--expires", help="lifetime, such as 30d; unlimited by default")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant_or_platform(options["tenant"])
        lifetime = options["expires"]
        values = {
            "tenant": tenant,
            "name": options["name"],
            "scopes": [each.strip() for each in options["scopes"].split(",") if each.strip()],
        }
        if lifetime is not None:
            values["expires_at"] = clock.now() + parse_field("expires", durations.parse, lifetime)
        made = managed.create(OPERATOR, ApiToken, values)
        assert made.secret is not None
        token, text = made.row, made.secret.reveal()
        fields = {
            "id": token.public_id,
            "token": text,
            "tenant": None if tenant is None else tenant.slug,
            "scopes": token.scopes,
            "expires_at": None if token.expires_at is None else token.expires_at.isoformat(),
        }
        whose = "of the platform" if tenant is None else f"of {tenant.slug!r}"
        return CommandResult(
            fields,
            f"Token {token.name!r} {whose}, id {token.public_id}, shown only once:\n  {text}",
        )
