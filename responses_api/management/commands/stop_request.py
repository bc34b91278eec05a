"""stop_request: end the running call of a request, on whichever worker it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from gateway_project.lib.errors import NotFound
from responses_api.live import viewing
from responses_api.management.commands.in_flight import calls_elsewhere
from tenants.access.access import OPERATOR


class Command(AnsweringCommand):
    help = "Stop a running call. What was answered until then is charged."
    routes = ("POST in-flight/{request_id}/stop",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("request_id", help="the request's id, req_…")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        request_id = options["request_id"]
        try:
            stopped = asyncio.run(viewing.stop(calls_elsewhere(), OPERATOR, request_id)).stopped
        except NotFound as error:
            raise ValidationError({"request_id": error.message}) from error
        if stopped is None:
            text = f"{request_id} was told to stop; its worker did not say in time whether it has."
            return CommandResult({"request_id": request_id, "is_stopped": False}, text, ok=False)
        fields = {
            "request_id": request_id,
            "is_stopped": stopped.was_running,
            "after_ms": stopped.after_ms,
            "tokens": stopped.tokens,
            "charge_nano": stopped.charge_nano,
        }
        how = "ended" if stopped.was_running else "was answered before it could be stopped,"
        text = (
            f"{request_id} {how} after {stopped.after_ms} ms; {stopped.tokens} tokens, "
            f"{stopped.charge_nano} nano-dollars charged."
        )
        return CommandResult(fields, text)
