"""list_guardrail_events: what guardrails did of late."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from responses_api.enforcement import event_list


class Command(AnsweringCommand):
    help = "List what guardrails did, the newest last. No event holds any text."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--tenant", help="of this tenant's calls")
        parser.add_argument("--guardrail", default="", metavar="NAME", help="of this one")
        parser.add_argument("--request", default="", metavar="ID", help="of this request, req_…")
        parser.add_argument("--limit", type=int, default=50, metavar="N", help="50 by default")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        rows = event_list.newest(
            tenant=options["tenant"],
            guardrail=options["guardrail"],
            request_id=options["request"],
            limit=options["limit"],
        )
        text = "\n".join(map(event_list.in_words, rows)) or "There is no event."
        return CommandResult({"events": [event_list.fields_of(row) for row in rows]}, text)
