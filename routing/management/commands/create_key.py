"""create_key: a new API key of a tenant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib import durations
from gateway_project.lib.commands import Answer, AnsweringCommand, parsed
from routing import grants
from tenants import directory


class Command(AnsweringCommand):
    help = "Create an API key. Its secret is shown this once."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--tenant", required=True, help="slug of the tenant")
        parser.add_argument("--name", required=True, help="what the key is for")
        parser.add_argument("--aliases", help="a,b: only these aliases; all of them when not given")
        parser.add_argument("--expires", help="lifetime, such as 30d; endless when not given")
        parser.add_argument(
            "--scopes",
            help="a,b: what it may do (generate, models, read, store); all of it when not given",
        )

    def answer(self, options: Mapping[str, Any]) -> Answer:
        names, expires, scopes = options["aliases"], options["expires"], options["scopes"]
        key, secret = grants.create_key(
            directory.tenant(options["tenant"]),
            options["name"],
            aliases=None if names is None else _listed(names),
            scopes=None if scopes is None else _listed(scopes),
            lifetime=None if expires is None else parsed("expires", durations.parse, expires),
        )
        return Answer(
            {"id": key.public_id, "key": secret.reveal()},
            f"Key {key.name!r} of {key.tenant.slug!r}, id {key.public_id}, shown this once:\n"
            f"  {secret.reveal()}",
        )


def _listed(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]
