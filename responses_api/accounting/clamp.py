"""Limit a call's output to what its budgets pay for."""

from __future__ import annotations

from msgspec import structs

from responses_api.doors.registry import DOORS
from responses_api.doors.shapes import ModelCall


def clamp_output(call: ModelCall, limit: int) -> ModelCall:
    """Limit the call's output, under every name its client used."""
    body = DOORS[call.door].with_output_limit(call.body, limit)
    return structs.replace(call, body=body, clamp=limit)
