"""create_tenant: a new owner of keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants import directory


class Command(AnsweringCommand):
    help = "Create a tenant."
    routes = ("POST tenants",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("name", help="name shown to people")
        parser.add_argument(
            "--slug", default="", help="short name for commands; derived from the name by default"
        )
        parser.add_argument("--time-zone", default="UTC", help="IANA name, such as Europe/Berlin")
        parser.add_argument(
            "--retention-days", type=int, default=30, help="how long stored responses are kept"
        )
        parser.add_argument(
            "--no-store",
            action="store_true",
            help="store responses only when a request asks for it",
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.create(
            options["name"],
            slug=options["slug"],
            time_zone=options["time_zone"],
            store_by_default=not options["no_store"],
            retention_days=options["retention_days"],
        )
        fields = {
            "id": tenant.pk,
            "slug": tenant.slug,
            "name": tenant.name,
            "time_zone": tenant.time_zone,
            "store_by_default": tenant.store_by_default,
            "retention_days": tenant.retention_days,
        }
        return CommandResult(
            fields,
            f"Tenant {tenant.name!r} was created as {tenant.slug!r}. "
            f"A key for it: manage.py create_key --tenant {tenant.slug} --name first",
        )
