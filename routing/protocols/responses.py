"""Requests to an upstream that speaks the Responses API; always stateless."""

from __future__ import annotations

from typing import Any

from routing.route import Target

PATH = "/responses"
_NEVER_SENT = ("previous_response_id", "conversation", "background", "prompt")
_ENCRYPTED = "reasoning.encrypted_content"


def request(body: dict[str, Any], target: Target) -> dict[str, Any]:
    """The body to send: the client's own, with the upstream's model name and without state."""
    sent = {name: value for name, value in body.items() if name not in _NEVER_SENT}
    sent["model"] = target.model
    sent["store"] = False
    if "reasoning" in target.capabilities or sent.get("reasoning"):
        # Without stored state the next turn can replay reasoning only in its encrypted form
        # (wire.md, pitfall 23). Models that do not reason refuse the flag, so it is not always set.
        included = sent.get("include") or []
        if _ENCRYPTED not in included:
            sent["include"] = [*included, _ENCRYPTED]
    return sent
