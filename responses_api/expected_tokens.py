"""How many tokens a request is taken for by limits of tokens, until its usage is known."""

from __future__ import annotations

from typing import Any

from responses_api.accounting import facts
from responses_api.doors.shapes import ModelCall

BYTES_PER_TOKEN = 4
# Most answers are shorter than they may be.
USUAL_OUTPUT_TOKENS = 512
# Of an image, a recording or a file, which a request may hold as base64.
ATTACHMENT_TOKENS = 1_000
LARGE_BYTES = 65_536


def of_call(call: ModelCall) -> int:
    """Input as it would be if it were English text, and a usual answer."""
    if call.door == "input_tokens":
        return 0
    written = min(facts.output_limit(call.body) or USUAL_OUTPUT_TOKENS, USUAL_OUTPUT_TOKENS)
    return _input(call) + written


def _input(call: ModelCall) -> int:
    if call.size < LARGE_BYTES:
        return call.size // BYTES_PER_TOKEN
    size, count = _attachments(call.body)
    return max(call.size - size, 0) // BYTES_PER_TOKEN + count * ATTACHMENT_TOKENS


def _attachments(body: Any) -> tuple[int, int]:
    """The characters of what is no text, and how many of it there are: long, in ASCII and without a blank,
    as no text is for a thousand letters."""
    size = count = 0
    rest = [body]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            rest.extend(value.values())
        elif isinstance(value, list):
            rest.extend(value)
        elif isinstance(value, str) and len(value) >= LARGE_BYTES and _is_base64(value[:1024]):
            size += len(value)
            count += 1
    return size, count


def _is_base64(beginning: str) -> bool:
    return beginning.isascii() and " " not in beginning
