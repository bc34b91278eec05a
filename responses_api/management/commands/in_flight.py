"""in_flight: list the calls that are running, on all workers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from responses_api.live import viewing
from responses_api.live.in_flight import InFlightCalls, PlacedCall
from tenants import directory
from tenants.access.access import OPERATOR
from tenants.managed import naming

NEEDS_REDIS = (
    "REDIS_URL is not set, and without Redis only the gateway's own process knows what it runs. Look at "
    "In flight in the console, or ask GET /api/v1/in-flight."
)


def calls_elsewhere() -> InFlightCalls:
    """Return what asks the workers. Raise ValidationError where a command cannot reach them."""
    if settings.REDIS_URL is None:
        raise ValidationError(NEEDS_REDIS)
    return InFlightCalls(None, settings.REDIS_URL)


class Command(AnsweringCommand):
    help = "List the calls that are running, oldest first."
    routes = ("GET in-flight",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--tenant", help="only this tenant's: slug or name")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        calls = calls_elsewhere()
        tenant = directory.tenant(options["tenant"]) if options["tenant"] else None
        shown = asyncio.run(viewing.see(calls, OPERATOR, None if tenant is None else tenant.pk))
        found = shown.in_flight
        names = naming.names_of_ids([{"key": each.call.key} for each in found.calls])
        lines = [_line(*each) for each in zip(found.calls, names, strict=True)]
        lines.append(
            f"{found.total} running; {found.answered} of {found.asked} workers answered."
            if found.reach == "all"
            else "Redis does not answer, so no worker could be asked."
        )
        fields = {
            "calls": [
                {**_fields(each), "key_name": name.get("key", "")}
                for each, name in zip(found.calls, names, strict=True)
            ],
            "total": found.total,
            "workers_asked": found.asked,
            "workers_answered": found.answered,
        }
        return CommandResult(fields, "\n".join(lines), ok=found.reach == "all")


def _fields(placed: PlacedCall) -> dict[str, Any]:
    call = placed.call
    return {
        "request_id": call.request_id,
        "tenant": call.tenant,
        "key": call.key,
        "alias": call.alias,
        "target": call.target,
        "phase": call.phase,
        "elapsed_ms": call.elapsed_ms,
        "tokens": call.tokens,
        "worker": _worker(placed),
    }


def _line(placed: PlacedCall, names: Mapping[str, str]) -> str:
    call = placed.call
    key = f"{call.key} {names.get('key', '')}".rstrip()
    return (
        f"{call.request_id}  {call.elapsed_ms / 1000:7.1f} s  {call.tenant}/{key}  "
        f"{call.alias} -> {call.target or '-'}  {call.phase}  {call.tokens} tokens  "
        f"{_worker(placed)}"
    )


def _worker(placed: PlacedCall) -> str:
    worker = placed.worker
    return "" if worker is None else f"{worker.host}/{worker.pid}"
