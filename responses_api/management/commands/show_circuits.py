"""show_circuits: list the circuits that are open, on all workers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from responses_api.live import circuits
from responses_api.live.circuits import Circuits, ShownCircuit
from tenants.access.access import OPERATOR

NEEDS_REDIS = (
    "REDIS_URL is not set, and without Redis only the gateway's own process knows its circuits. Look at "
    "Circuits in the console, or ask GET /api/v1/circuits."
)


def circuits_elsewhere() -> Circuits:
    """Return what knows the workers' circuits. Raise ValidationError where a command cannot reach them."""
    if settings.REDIS_URL is None:
        raise ValidationError(NEEDS_REDIS)
    return Circuits(None, settings.REDIS_URL)


class Command(AnsweringCommand):
    help = (
        "List the circuits that are open: what failed or asked to be left alone, and for how long."
    )
    routes = ("GET circuits",)

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        shown = asyncio.run(circuits.see(circuits_elsewhere(), OPERATOR))
        is_known = shown.reach == "all"
        lines = [_line(each) for each in shown.circuits]
        lines.append(
            f"{len(lines)} open." if is_known else "Redis does not answer, so nothing is known."
        )
        fields = {"circuits": [each.fields for each in shown.circuits]}
        return CommandResult(fields, "\n".join(lines), ok=is_known)


def _line(circuit: ShownCircuit) -> str:
    told = circuit.fields
    return (
        f"{told['circuit']}  {told['seconds']:.0f} s  {told['opened_by']}: {told['reason']}  "
        f"{told['openings']} in a row"
    )
