"""A call that asks for no more output than its budgets pay for."""

from __future__ import annotations

from msgspec import structs

from responses_api.doors.shapes import ModelCall

_CHAT_LIMITS = ("max_completion_tokens", "max_tokens")


def clamped(call: ModelCall, limit: int) -> ModelCall:
    """The call with this output limit, under every name its client used."""
    if call.door != "chat":
        names = ["max_output_tokens"]
    else:
        names = [name for name in _CHAT_LIMITS if call.body.get(name) is not None]
        names = names or [_CHAT_LIMITS[0]]
    return structs.replace(call, body={**call.body, **dict.fromkeys(names, limit)}, clamp=limit)
