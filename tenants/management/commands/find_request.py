"""find_request: what became of a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants.access.access import OPERATOR
from tenants.console import request_words
from tenants.managed import naming
from tenants.reports.request_detail import find_request


class Command(AnsweringCommand):
    help = "Tell what became of a request, answered or refused."
    routes = ("GET requests/{key}",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("id", help="as in the header x-request-id of its answer, req_…")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        found = find_request(OPERATOR, options["id"])
        if found is None:
            told = (
                "There is no such request. One is found a second after it ended, a refused one for "
                "TOLLGATE_REFUSAL_DAYS."
            )
            raise ValidationError({"id": told})
        row = found.summary
        names = naming.names_of_ids([{"tenant": row.tenant_id, "key": row.key_public_id}])[0]
        fields = {**_plain(asdict(found)), "names": names}
        return CommandResult(fields, request_words.in_lines(found, names))


def _plain(value: Any) -> Any:
    """Return what JSON can hold."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, UUID):
        return str(value)
    return value.isoformat() if hasattr(value, "isoformat") else value
