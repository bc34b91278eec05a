"""set_role: a member gets another role."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants import directory
from tenants.access.access import OPERATOR
from tenants.members import members, roles


class Command(AnsweringCommand):
    help = "Give a member of a tenant another role."
    routes = ("PATCH members/{key}",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("username", help="the member's user name")
        parser.add_argument("--tenant", required=True, help="slug or name")
        parser.add_argument(
            "--role", required=True, help="a built-in role or one of the tenant's own"
        )
        parser.add_argument(
            "--force", action="store_true", help="even if nobody owns the tenant afterwards"
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant(options["tenant"])
        member = directory.member(tenant, options["username"])
        before, role = member.role_name, roles.find_role(tenant, options["role"])
        member = members.set_role(OPERATOR, member, role, force=options["force"])
        fields = {
            "username": options["username"],
            "tenant": tenant.slug,
            "role": member.role_name,
            "before": before,
        }
        text = (
            f"{options['username']!r} is now {member.role_name} of {tenant.slug!r}, not {before}."
        )
        return CommandResult(fields, text)
