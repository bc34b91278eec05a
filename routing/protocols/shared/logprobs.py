"""Bring token log probabilities into the Responses API's shape.

Chat Completions has the same fields but may leave out `top_logprobs` and say null for `bytes`, where a
Response has lists (docs/wire.md 4.8).
"""

from __future__ import annotations

from typing import Any

from gateway_project.lib.json import Json
from routing.protocols.shared.fields import dicts, text


def of_tokens(entries: Any) -> tuple[Json, ...]:
    """Read a list of tokens as either protocol reports them."""
    return tuple(
        {
            **_token(entry),
            "top_logprobs": [_token(other) for other in dicts(entry.get("top_logprobs"))],
        }
        for entry in dicts(entries)
    )


def _token(entry: Json) -> Json:
    token, encoded = text(entry.get("token")), entry.get("bytes")
    if not isinstance(encoded, list):
        encoded = list(token.encode())
    return {"token": token, "bytes": encoded, "logprob": entry.get("logprob")}
