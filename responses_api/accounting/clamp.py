"""A call that asks for no more output than its budgets pay for."""

from __future__ import annotations

from msgspec import structs

from responses_api.doors.shapes import ModelCall

_CHAT_LIMITS = ("max_completion_tokens", "max_tokens")


def clamped(call: ModelCall, limit: int) -> ModelCall:
    """The call with its output limit no higher than `limit`, under the name its client used."""
    if call.door != "chat":
        return structs.replace(call, body={**call.body, "max_output_tokens": limit})
    name = next((name for name in _CHAT_LIMITS if call.body.get(name) is not None), _CHAT_LIMITS[0])
    return structs.replace(call, body={**call.body, name: limit})
