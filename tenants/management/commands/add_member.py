"""add_member: an existing account gets a role in a tenant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants import directory
from tenants.access.access import OPERATOR
from tenants.members import members, roles


class Command(AnsweringCommand):
    help = "Make somebody who has an account a member of a tenant."
    routes = ("POST members",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("username", help="the account's user name")
        parser.add_argument("--tenant", required=True, help="slug or name")
        parser.add_argument(
            "--role", required=True, help="a built-in role or one of the tenant's own"
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant(options["tenant"])
        user, role = directory.user(options["username"]), roles.find_role(tenant, options["role"])
        member = members.add_member(OPERATOR, tenant, user, role)
        fields = {"username": user.username, "tenant": tenant.slug, "role": member.role_name}
        return CommandResult(
            fields, f"{user.username!r} is now {member.role_name} of {tenant.slug!r}."
        )
