"""Check the body of POST /responses/compact, which makes a conversation shorter (docs/wire.md 6.5)."""

from __future__ import annotations

from msgspec import structs

from gateway_project.lib.structure import Caps
from responses_api.doors import responses
from responses_api.doors.shapes import ModelCall, parse_object
from routing.route import Target

Json = responses.Json

PATH = "/responses/compact"
# https://platform.openai.com/docs/api-reference/responses/compact
_SENT = ("input", "instructions", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
         "service_tier")  # fmt: skip


def decode(raw: bytes, caps: Caps | None = None) -> ModelCall:
    """A request body, checked. Raises BadRequest naming the field."""
    body = {**parse_object(raw, caps), "stream": False, "store": False, "background": False}
    return structs.replace(responses.understood(body, len(raw), caps), door="compact")


def request(body: Json, target: Target) -> Json:
    """The body for an upstream that has this route: the conversation, whole and without our state."""
    return {"model": target.model, **{name: body[name] for name in _SENT if body.get(name)}}
