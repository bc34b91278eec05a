"""Check the body of POST /responses/input_tokens: a request that is counted and not answered."""

from __future__ import annotations

from msgspec import structs

from gateway_project.lib.structure import Caps
from responses_api.doors.responses import request as responses
from responses_api.doors.shapes import ModelCall, parse_object

NAME = "input_tokens"


def decode(raw: bytes, caps: Caps | None = None) -> ModelCall:
    """Check a request body. Raises BadRequest naming the field."""
    body = {**parse_object(raw, caps), "stream": False, "store": False, "background": False}
    return structs.replace(responses.parse(body, len(raw), caps), door=NAME)


def refuse_empty(call: ModelCall) -> None:
    """Refuse a request with nothing to count; instructions or tools alone can be counted."""
    if not (call.body.get("instructions") or call.body.get("tools")):
        responses.refuse_empty(call)
