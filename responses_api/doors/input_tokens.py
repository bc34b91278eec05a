"""The door of POST /responses/input_tokens: a request that is counted and not answered."""

from __future__ import annotations

from msgspec import structs

from gateway_project.lib.structure import Caps
from responses_api.doors import responses
from responses_api.doors.shapes import ModelCall, parse_object


def decode(raw: bytes, caps: Caps | None = None) -> ModelCall:
    """A request body, checked. Raises BadRequest naming the field."""
    body = {**parse_object(raw, caps), "stream": False, "store": False, "background": False}
    return structs.replace(responses.understood(body, len(raw), caps), door="input_tokens")
