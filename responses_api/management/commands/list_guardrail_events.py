"""list_guardrail_events: what guardrails did of late."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult, errors_of, page
from responses_api.enforcement import event_list
from responses_api.models import GuardrailEvent
from responses_api.validators import GUARDRAIL_STAGES
from tenants.managed import typed


class Command(AnsweringCommand):
    help = "List what guardrails did, the newest last. No event holds any text."
    routes = ("GET guardrail-events",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--tenant", help="of this tenant's calls")
        parser.add_argument("--guardrail", default="", metavar="NAME", help="of this one")
        parser.add_argument("--request", default="", metavar="ID", help="of this request, req_…")
        parser.add_argument(
            "--action", choices=GuardrailEvent.Action.values, help="only those with this outcome"
        )
        parser.add_argument("--stage", choices=GUARDRAIL_STAGES, help="only those of this stage")
        parser.add_argument("--since", metavar="INSTANT", help="from then on; 24h: so long ago")
        parser.add_argument("--until", metavar="INSTANT", help="before then; 24h: so long ago")
        parser.add_argument("--limit", type=int, default=50, metavar="N", help="50 by default")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        rows = event_list.newest(
            tenant=options["tenant"],
            guardrail=options["guardrail"],
            request_id=options["request"],
            limit=options["limit"],
            conditions=dict(_conditions(options)),
        )
        text = "\n".join(map(event_list.in_words, rows)) or "There is no event."
        return CommandResult(page([event_list.fields_of(row) for row in rows]), text)


def _conditions(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the conditions on events that were given. Raise ValidationError."""
    for name in ("action", "stage"):
        if options[name] is not None:
            yield name, options[name]
    for name, condition in (("since", "at__gte"), ("until", "at__lt")):
        if options[name] is not None:
            with errors_of(name):
                yield condition, typed.instant(options[name], is_past=True)
