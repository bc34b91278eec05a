"""resend_invitation: a new link for an invitation, and seven more days."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import CommandResult
from tenants.access.access import OPERATOR
from tenants.api.people import InvitationRows, link_of
from tenants.management.rows import OneRowCommand
from tenants.members import console_address, invitations


class Command(OneRowCommand):
    help = "Give an invitation a new link and seven more days; the old link opens nothing."
    rows = InvitationRows
    routes = ("POST invitations/{key}/resend",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--console-url", default="", help="where people reach the console")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        row, base = self.find(options), console_address.of(options["console_url"])
        _, token = invitations.resend(OPERATOR, row, created_by=None)
        again = self.again(row)
        once = link_of(again, token, base)
        text = f"Until {again.expires_at.isoformat()}, shown only once:\n  {once['link']}\n{once['mail']}"
        return CommandResult(self.tell(again, once), text)
