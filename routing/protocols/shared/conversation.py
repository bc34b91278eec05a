"""Split a canonical input into turns, with every call next to its result, as chat and Anthropic demand.

Responses is a flat list of items; the others want what the assistant said, thought and called in one turn,
and the results of all its calls directly after it (docs/wire.md, pitfalls 15 and 19).
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal

import orjson
from msgspec import Struct

from gateway_project.lib.errors import BadRequest, UnsupportedParameter
from gateway_project.lib.json import Json
from routing.protocols.shared.fields import text
from routing.protocols.shared.tools import TOOL_ITEMS

CALLS = frozenset({"function_call", "custom_tool_call"})
OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})
# What a provider's own tools left in the history. The answer they led to stands beside them, and no other
# vendor could take them.
LEFT_OUT = TOOL_ITEMS | {
    "code_interpreter_call",
    "file_search_call",
    "image_generation_call",
    "mcp_call",
    "mcp_list_tools",
    "tool_search_call",
    "web_search_call",
}
_ROLES: dict[Any, Literal["system", "user", "assistant"]] = {
    "assistant": "assistant",
    "developer": "system",
    "system": "system",
    "user": "user",
}


class Located(Struct, frozen=True):
    """An item and where the client put it, for errors."""

    at: str
    item: Json


class Turn(Struct):
    """One role's turn. `items` are one message, or what the assistant said, thought and called;
    `results` are the outputs of its calls, in their order."""

    role: Literal["system", "user", "assistant"]
    items: list[Located] = []
    results: list[Located] = []


def nothing_said() -> BadRequest:
    """Make the error for an input of which nothing is left to send."""
    return BadRequest("'input' holds nothing that can be sent; send a message.", param="input")


def kind_of(item: Json) -> str:
    """Return an item's type; messages and references may leave it out (docs/wire.md 3.3)."""
    kind = item.get("type")
    if kind is not None:
        return kind if isinstance(kind, str) else repr(kind)  # a stored item of some upstream's
    return "message" if "role" in item else "item_reference"


def turns(items: list[Json]) -> list[Turn]:
    """Split the items into turns. Raises BadRequest for a call without its result, a result without its call,
    or an item that cannot be told to another vendor."""
    reader = _Reader()
    for i, item in enumerate(items):
        reader.take(Located(f"input[{i}]", item))
    return reader.finish()


class _Reader:
    def __init__(self) -> None:
        self._turns: list[Turn] = []
        self._assistant: Turn | None = None
        self._waiting: dict[str, Located] = {}
        self._results: dict[str, Located] = {}  # by where their call stands

    def take(self, located: Located) -> None:
        kind = kind_of(located.item)
        if kind == "message":
            self._take_message(located)
        elif kind in CALLS:
            self._wait_for(located)
            self._open_assistant().items.append(located)
        elif kind == "reasoning":
            self._open_assistant().items.append(located)
        elif kind in OUTPUTS:
            self._take_output(located)
        elif kind == "compaction":
            raise another_made(located)
        elif kind not in LEFT_OUT:
            raise UnsupportedParameter(
                f"Items of the type {kind!r} cannot be sent to the provider of this model.",
                param=f"{located.at}.type",
            )

    def finish(self) -> list[Turn]:
        for call_id, call in self._waiting.items():
            raise _unanswered_call(call_id, call)
        for turn in self._turns:
            if turn.role != "assistant":
                continue
            calls = (entry for entry in turn.items if kind_of(entry.item) in CALLS)
            turn.results = [self._results[call.at] for call in calls]
        return self._turns

    def _take_message(self, located: Located) -> None:
        role = _ROLES.get(text(located.item.get("role")))
        if role is None:
            at = f"{located.at}.role"
            raise BadRequest(f"'{at}' must be user, assistant, system or developer.", param=at)
        if role == "assistant":
            self._open_assistant().items.append(located)
            return
        self._assistant = None
        self._turns.append(Turn(role, [located]))

    def _open_assistant(self) -> Turn:
        if self._assistant is None:
            self._assistant = Turn("assistant")
            self._turns.append(self._assistant)
        return self._assistant

    def _wait_for(self, call: Located) -> None:
        call_id = _call_id(call)
        if call_id in self._waiting:
            raise _unanswered_call(call_id, self._waiting[call_id])
        self._waiting[call_id] = call

    def _take_output(self, output: Located) -> None:
        """Put an output after its call's turn, wherever the client put it; it ends that turn."""
        call_id = _call_id(output)
        call = self._waiting.pop(call_id, None)
        if call is None:
            raise BadRequest(
                f"No tool call found for the output with call_id {call_id!r}: send the call before its "
                "output, and one output for each call.",
                param=f"{output.at}.call_id",
            )
        self._results[call.at] = output
        self._assistant = None


def another_made(compaction: Located) -> UnsupportedParameter:
    """Refuse a compaction of another vendor: it stands for all that was said before, and only its maker reads
    it."""
    return UnsupportedParameter(
        "This conversation was compacted by another provider, which alone can read it. Go on with a model "
        "of that provider, or send the conversation itself.",
        param=f"{compaction.at}.type",
    )


def _call_id(located: Located) -> str:
    call_id = located.item.get("call_id")
    if isinstance(call_id, str) and call_id:
        return call_id
    at = f"{located.at}.call_id"
    raise BadRequest(f"'{at}' must be a text.", param=at)


def _unanswered_call(call_id: str, call: Located) -> BadRequest:
    return BadRequest(
        f"No tool output found for the call with call_id {call_id!r}: send the output of every call.",
        param=f"{call.at}.call_id",
    )


def parts(content: Any, kind: str = "input_text") -> list[Json]:
    """Return a content, which is a string or a list of parts, as parts."""
    if isinstance(content, str):
        return [{"type": kind, "text": content}]
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def text_of(content: Any, joint: str = "\n") -> str:
    """Join the text in a content; other parts are left out."""
    if isinstance(content, str):
        return content
    found = (part.get("text", part.get("refusal")) for part in parts(content))
    return joint.join(text for text in found if isinstance(text, str))


def instructions(canonical: Json) -> str:
    """Return the request's own instructions, which OpenAI also takes as a list of messages."""
    given = canonical.get("instructions")
    if not isinstance(given, list):
        return given or ""
    return "\n\n".join(text_of(item.get("content")) for item in given)


class CallIds:
    """Give ids of calls a vendor's form, unique in one request.

    Ids come from whichever provider made the call. They only tie a call to its result, so that another
    id does as well as long as it is the same in every request.
    """

    __slots__ = ("_limit", "_used")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used: set[str] = set()

    def for_call(self, call_id: str) -> str:
        """Return the id for the next call with this id in the history."""
        wire_id, repeated = self._fitting(call_id, 0), 0
        while wire_id in self._used:
            repeated += 1
            wire_id = self._fitting(call_id, repeated)
        self._used.add(wire_id)
        return wire_id

    def _fitting(self, call_id: str, repeated: int) -> str:
        if not repeated and len(call_id) <= self._limit and _PLAIN_ID.match(call_id):
            return call_id
        mark = hashlib.sha256(f"{call_id}\0{repeated}".encode()).hexdigest()[:12]
        return f"{_NOT_PLAIN.sub('_', call_id)[: self._limit - 13]}_{mark}"


_PLAIN_ID = re.compile(r"[a-zA-Z0-9_-]+\Z")
_NOT_PLAIN = re.compile(r"[^a-zA-Z0-9_-]")


def arguments(item: Json) -> str:
    """Write a call's arguments as JSON text; a custom tool's input is wrapped as it was offered."""
    if item["type"] == "custom_tool_call":
        return orjson.dumps({"input": item.get("input") or ""}).decode()
    given = item.get("arguments")
    if not isinstance(given, str):
        return orjson.dumps(given if given is not None else {}).decode()
    return given if given.strip() else "{}"


def output_text(content: Any) -> str:
    """Return an output as text; some clients send an object (docs/wire.md, pitfall 18)."""
    if content is None or isinstance(content, str):
        return content or ""
    return orjson.dumps(content).decode()
