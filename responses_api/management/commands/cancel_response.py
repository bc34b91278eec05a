"""cancel_response: end a response that is made in the background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from gateway_project.lib.errors import NotFound
from responses_api.live import background
from tenants.access.access import OPERATOR


class Command(AnsweringCommand):
    help = "Cancel a response that is queued or being made in the background."
    routes = ("POST background/{response_id}/cancel",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("response", help="its id, resp_…, as list_background prints it")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        response_id = options["response"]
        try:
            status = background.cancel(OPERATOR, response_id)
        except NotFound as error:
            raise ValidationError({"response": error.message}) from error
        fields = {"response_id": response_id, "status": status}
        return CommandResult(fields, f"{response_id} is {status}.")
