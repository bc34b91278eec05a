"""The door of POST /responses/input_tokens: a request that is counted and not answered."""

from __future__ import annotations

from msgspec import structs

from responses_api.doors import responses
from responses_api.doors.shapes import ModelCall, parse_object


def decode(raw: bytes) -> ModelCall:
    """A request body, checked. Raises BadRequest naming the field."""
    body = {**parse_object(raw), "stream": False, "store": False, "background": False}
    return structs.replace(responses.understood(body, len(raw)), door="input_tokens")
