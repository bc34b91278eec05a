"""Estimate how many tokens a request will use, for limits of tokens, until its usage is known."""

from __future__ import annotations

from gateway_project.lib.json import Json
from responses_api.accounting.estimates import estimate
from responses_api.doors.door import Door
from responses_api.doors.shapes import ModelCall

# Most answers are shorter than their limit.
USUAL_OUTPUT_TOKENS = 512


def of_call(door: Door, call: ModelCall) -> int:
    """Add up the fair estimate of its input and usual answers, as many as it asks for."""
    if not door.generates:
        return 0
    return estimate(call.body, call.size).fair + usual_output(door, call.body)


def usual_output(door: Door, body: Json) -> int:
    """Return the tokens of usual answers, as many as are asked for."""
    written = min(door.output_limit(body) or USUAL_OUTPUT_TOKENS, USUAL_OUTPUT_TOKENS)
    return written * door.choices(body)
