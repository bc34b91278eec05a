"""Check the body of POST /responses/compact, which makes a conversation shorter (docs/wire.md 6.5)."""

from __future__ import annotations

from msgspec import structs

from gateway_project.lib.json import Json
from gateway_project.lib.structure import Caps
from responses_api.doors.responses import request as responses
from responses_api.doors.shapes import ModelCall, parse_object
from routing.route import ResolvedTarget

NAME = "compact"
PATH = "/responses/compact"
# https://platform.openai.com/docs/api-reference/responses/compact
_SENT = ("input", "instructions", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
         "service_tier")  # fmt: skip


def decode(raw: bytes, caps: Caps | None = None) -> ModelCall:
    """Check a request body. Raises BadRequest naming the field."""
    body = {**parse_object(raw, caps), "stream": False, "store": False, "background": False}
    return structs.replace(responses.parse(body, len(raw), caps), door=NAME)


def request(body: Json, target: ResolvedTarget) -> Json:
    """Make the body for an upstream that has this route: the conversation, whole and without our state."""
    return {"model": target.model, **{name: body[name] for name in _SENT if body.get(name)}}
