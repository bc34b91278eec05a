"""Make requests to an upstream that speaks the Responses API; always stateless."""

from __future__ import annotations

from typing import Any

from gateway_project.lib.json import Json
from routing.protocols.shared import envelope
from routing.protocols.shared.conversation import Located, another_made, turns
from routing.protocols.shared.tools import Toolbox
from routing.route import ResolvedTarget

PATH = "/responses"
# OpenAI refuses a lower limit: https://platform.openai.com/docs/api-reference/responses/create
MIN_OUTPUT_TOKENS = 16
_NEVER_SENT = ("previous_response_id", "conversation", "background", "prompt", "usage")
_ENCRYPTED = "reasoning.encrypted_content"
_LOGPROBS = "message.output_text.logprobs"
_CALLABLE = frozenset({"custom", "function"})
# What only chat knows; `parameters.prepare` has refused or dropped the rest.
_CHAT_ONLY = ("logprobs", "modalities", "n", "stop")


def request(body: Json, target: ResolvedTarget) -> Json:
    """Make the body to send: the client's own, with the upstream's model name and without state. Raises
    BadRequest for what only another vendor can read and the conversation cannot do without."""
    sent = {name: value for name, value in body.items() if name not in _NEVER_SENT}
    sent["model"] = target.model
    sent["store"] = False
    if isinstance(sent.get("input"), list):
        sent["input"] = _replay(sent["input"], target)
    if "reasoning" in target.capabilities or sent.get("reasoning"):
        # Without stored state the next turn can replay reasoning only in its encrypted form
        # (docs/wire.md, pitfall 23). Models that do not reason refuse the flag, so it is not always set.
        _include(sent, _ENCRYPTED)
    return sent


def build(canonical: Json, toolbox: Toolbox, target: ResolvedTarget) -> Json:
    """Make the body for a client of another format. Raises BadRequest for calls without results.

    Tools and their choice stay as they are: canonical bodies have them in this protocol's form, and
    `allowed_tools` is sent as such, so that the upstream can cache the whole list. Hosted tools are left
    out here too: no other door has checked whose files they name.
    """
    turns(canonical["input"])
    sent = {name: value for name, value in canonical.items() if name not in _CHAT_ONLY}
    if toolbox.dropped:
        sent["tools"] = [tool for tool in sent["tools"] if tool.get("type") in _CALLABLE]
    if (limit := canonical.get("max_output_tokens")) is not None:
        sent["max_output_tokens"] = max(limit, MIN_OUTPUT_TOKENS)
    if canonical.get("logprobs"):
        _include(sent, _LOGPROBS)
    if not sent.get("tools"):
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            sent.pop(name, None)
    # Chat clients hold raw thoughts at most, which nobody takes back here.
    sent["input"] = [item for item in canonical["input"] if not _is_raw_thought(item)]
    return request(sent, target)


def _include(sent: Json, name: str) -> None:
    included = sent.get("include") or []
    if name not in included:
        sent["include"] = [*included, name]


def _is_raw_thought(item: Json) -> bool:
    return item.get("type") == "reasoning" and not item.get("encrypted_content")


def _replay(items: list[Any], target: ResolvedTarget) -> list[Any]:
    """Open what this vendor sealed and leave out what others did (docs/wire.md, pitfall 24)."""
    kinds = [item.get("type") if item.__class__ is dict else None for item in items]
    if not ("reasoning" in kinds or "compaction" in kinds):  # nothing else is sealed
        return items
    opened = (
        _open_payload(Located(f"input[{i}]", item), target) if _has_envelope(item) else item
        for i, item in enumerate(items)
    )
    return [item for item in opened if item is not None]


def _has_envelope(item: Any) -> bool:
    if not isinstance(item, dict) or item.get("type") not in {"reasoning", "compaction"}:
        return False
    sealed = item.get("encrypted_content")
    return isinstance(sealed, str) and envelope.is_ours(sealed)


def _open_payload(located: Located, target: ResolvedTarget) -> Json | None:
    """Open a payload: a thought's goes back to its own vendor only, its summary to any. A compaction is all
    that is left of what was said before it, so that it is never left out."""
    item = located.item
    sealed = envelope.unpack(item["encrypted_content"])
    if sealed is not None and sealed.belongs_to(target):
        if isinstance(sealed.payload, str):
            return {**item, "encrypted_content": sealed.payload}
        if sealed.payload is None and item.get("content"):
            return {name: value for name, value in item.items() if name != "encrypted_content"}
    if item["type"] == "compaction":
        raise another_made(located)
    # Without its payload an id is worse than none: the vendor would look for it (docs/wire.md, pitfall 23).
    return {"type": "reasoning", "summary": item["summary"]} if item.get("summary") else None
