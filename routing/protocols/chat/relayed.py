"""Make a Chat Completions request fit for an upstream that speaks the same."""

from __future__ import annotations

from typing import Any

from routing.route import ResolvedTarget

PATH = "/chat/completions"
# The gateway keeps all state; a completion stored upstream would belong to nobody (docs/wire.md, pitfall 32).
# What a call costs its client is not the upstream's to say.
_NEVER_SENT = ("store", "usage")
_OUTPUT_LIMITS = ("max_completion_tokens", "max_tokens")


def request(body: dict[str, Any], target: ResolvedTarget) -> dict[str, Any]:
    """Make the body to send: the client's own, with the upstream's model name and what we must change."""
    sent = {name: value for name, value in body.items() if name not in _NEVER_SENT}
    sent["model"] = target.model
    if sent.get("stream") and not target.quirks.no_stream_usage:
        # Without the flag OpenAI streams no usage at all; the extra chunk is stripped again
        # for clients that did not ask (docs/wire.md 8.4).
        options = sent.get("stream_options")
        sent["stream_options"] = {**(options or {}), "include_usage": True}
    elif target.quirks.no_stream_usage:
        sent.pop("stream_options", None)
    if target.quirks.max_tokens_field:
        _rename_output_limit(sent, target.quirks.max_tokens_field)
    return sent


def _rename_output_limit(sent: dict[str, Any], wanted: str) -> None:
    given = [sent.pop(name) for name in _OUTPUT_LIMITS if name in sent]
    if given:
        sent[wanted] = given[0]
