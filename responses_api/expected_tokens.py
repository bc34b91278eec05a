"""How many tokens a request is taken for by limits of tokens, until its usage is known."""

from __future__ import annotations

from responses_api.accounting import facts
from responses_api.accounting.estimates import estimate
from responses_api.doors.shapes import ModelCall

# Most answers are shorter than they may be.
USUAL_OUTPUT_TOKENS = 512


def of_call(call: ModelCall) -> int:
    """The fair estimate of its input, and usual answers, as many as it asks for."""
    if call.door == "input_tokens":
        return 0
    written = min(facts.output_limit(call.body) or USUAL_OUTPUT_TOKENS, USUAL_OUTPUT_TOKENS)
    if call.door == "chat":
        written *= facts.choices(call.body)
    return estimate(call.body, call.size).fair + written
