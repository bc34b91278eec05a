"""invite: a link by which somebody joins a tenant."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser
from django.urls import reverse

from gateway_project.lib import durations
from gateway_project.lib.commands import AnsweringCommand, CommandResult, parse_field
from tenants import directory
from tenants.access.access import OPERATOR
from tenants.members import console_address, invitations, roles
from tenants.members.mail import send_invitation


class Command(AnsweringCommand):
    help = "Invite somebody to a tenant by a link that works once."
    routes = ("POST invitations",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--tenant", required=True, help="slug or name")
        parser.add_argument(
            "--role", required=True, help="a built-in role or one of the tenant's own"
        )
        parser.add_argument(
            "--email", default="", help="where the link is sent, if mail can be sent"
        )
        parser.add_argument("--expires", default="7d", help="up to 30d; 7d by default")
        parser.add_argument("--console-url", default="", help="where people reach the console")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant(options["tenant"])
        valid_for: timedelta = parse_field("expires", durations.parse, options["expires"])
        base = console_address.of(options["console_url"])
        invitation, token = invitations.invite(
            OPERATOR,
            tenant,
            roles.find_role(tenant, options["role"]),
            created_by=None,
            email=options["email"],
            valid_for=valid_for,
        )
        link = base + reverse("accept_invitation", args=(token.reveal(),))
        mail = send_invitation(invitation, link)
        expires = invitation.expires_at.isoformat()
        fields = {
            "id": invitation.pk,
            "tenant": tenant.slug,
            "role": invitation.role_name,
            "email": invitation.email,
            "link": link,
            "expires_at": expires,
            "mail": mail,
        }
        return CommandResult(fields, f"Until {expires}, shown only once:\n  {link}\n{mail}")
