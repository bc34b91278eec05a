"""create_operator: somebody who may do, or with --auditor see, everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants.access.access import OPERATOR
from tenants.members import accounts


class Command(AnsweringCommand):
    help = "Make an operator, or an auditor, who may sign in to the console."
    routes = ("POST users",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("username", help="a new user name, or an existing account's")
        parser.add_argument("--email", default="", help="the person's address")
        parser.add_argument(
            "--auditor", action="store_true", help="reads everything but prompts, changes nothing"
        )
        parser.add_argument(
            "--new-password", action="store_true", help="give an existing account a new password"
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        user, password = accounts.create_operator(
            OPERATOR,
            options["username"],
            email=options["email"],
            is_auditor=options["auditor"],
            new_password=options["new_password"],
        )
        role = "auditor" if options["auditor"] else "operator"
        fields = {
            "username": user.username,
            "role": role,
            "password": password.reveal() if password is not None else None,
        }
        told = (
            f"Password, shown only once:\n  {fields['password']}"
            if password
            else "Password as before."
        )
        return CommandResult(fields, f"{user.username!r} may sign in as {role}.\n{told}")
