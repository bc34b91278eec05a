"""Checking JSON against the shapes a door knows, with errors that name the exact field.

A shape is a msgspec Struct that is only used to check: what travels on is the JSON the client sent,
because fields we do not know must survive.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec
import orjson

from gateway_project.lib import structure
from gateway_project.lib.errors import BadRequest, InvalidJson, RequestTooComplex
from gateway_project.lib.structure import Caps, TooMuchStructure, is_deeper
from routing.protocols import envelope

# orjson's words for JSON that is nested deeper than it reads.
_TOO_DEEP_TO_READ = "depth limit"

DoorName = Literal["chat", "responses", "compact", "input_tokens"]


class Compaction(msgspec.Struct, frozen=True):
    """What it takes to put a summary in a conversation's place: `seal` makes an item's content of it,
    `items` is the conversation as the client knows it, with earlier compactions still sealed."""

    seal: Callable[[str], str]
    items: list[dict[str, Any]]


class ModelCall(msgspec.Struct, frozen=True):
    """One generation request as its door understood it. `body` is the client's own JSON, or what became
    of it once the history it continues was put before its input.

    `references` are the positions of items in the input that stand for stored ones, `history` is how
    many items of the input the client did not send itself. `compaction` is there where a summary may be
    asked for; `preceding` is an item to be shown before the answer's own.
    """

    door: DoorName
    model: str
    stream: bool
    include_usage: bool
    body: dict[str, Any]
    size: int
    references: tuple[int, ...] = ()
    history: int = 0
    compaction: Compaction | None = None
    preceding: dict[str, Any] | None = None

    def named(self, param: str) -> str:
        """A field of `body` as the client knows it."""
        found = _ITEM.match(param) if self.history else None
        if found is None:
            return param
        position = int(found[1]) - self.history
        if position >= 0:
            return f"input[{position}]{found[2]}"
        return "previous_response_id" if self.body.get("previous_response_id") else "conversation"


_ITEM = re.compile(r"input\[(\d+)\](.*)")


def renamed(error: BadRequest, client_param: Callable[[str], str]) -> BadRequest:
    """The same error about the field as the client wrote it."""
    if error.param is not None:
        param = client_param(error.param)
        error.message = error.message.replace(f"'{error.param}'", f"'{param}'")
        error.param = param
    return error


def parse_object(raw: bytes | str, caps: Caps | None = None) -> dict[str, Any]:
    """The JSON object in a request body, no deeper than `caps` allow. Raises InvalidJson, BadRequest."""
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if caps is not None and error.msg.startswith(_TOO_DEEP_TO_READ):
            raise RequestTooComplex("depth", caps.depth) from None
        raise InvalidJson(f"The body is not valid JSON: {error.msg} at byte {error.pos}.") from None
    if not isinstance(parsed, dict):
        raise BadRequest("The body must be a JSON object.")
    if caps is not None and is_deeper(parsed, raw, caps.depth):
        raise RequestTooComplex("depth", caps.depth)
    return parsed


def check_count(cap: str, found: int, most: int, param: str) -> None:
    """Raise RequestTooComplex where there is more than a cap allows."""
    if found > most:
        raise RequestTooComplex(cap, most, param=param)


def count_parts(items: Iterable[dict[str, Any]]) -> int:
    """How many entries the lists in items or messages have together: parts of a content or an output,
    summaries, calls of tools."""
    return sum(len(value) for item in items for value in item.values() if isinstance(value, list))


def check_sealed(items: Iterable[dict[str, Any]], caps: Caps) -> None:
    """Raise RequestTooComplex where the payloads that came sealed hold more structure than a body may:
    they will be opened."""
    sealed = (item.get("encrypted_content") for item in items)
    try:
        structure.check(caps, *(envelope.written(one) for one in sealed if isinstance(one, str)))
    except TooMuchStructure as error:
        raise RequestTooComplex(error.cap, error.most, of="encrypted content") from None


def count_tools(tools: Iterable[Any]) -> int:
    """How many tools there are, those in namespaces included."""
    count = 0
    for tool in tools:
        inner = tool.get("tools") if isinstance(tool, dict) else None
        count += 1 + (len(inner) if isinstance(inner, list) else 0)
    return count


def check(value: Any, shape: Any, at: str = "") -> None:
    """Raise BadRequest naming the field unless `value` fits `shape`; `at` is where the value stands."""
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise _explained(str(error), at) from None


_AT = re.compile(r"(.*?)(?: - at `(.*)`)?\Z", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")


def _explained(words: str, at: str) -> BadRequest:
    """msgspec's words, as a sentence with the path the client knows."""
    match = _AT.match(words)
    what, path = match.groups() if match is not None else (words, None)
    param = at + (path or "").removeprefix("key` in `").removeprefix("$")
    param = param.removeprefix(".")
    if missing := _MISSING.match(what):
        param = f"{param}.{missing.group(1)}".removeprefix(".")
        return BadRequest(f"Missing required parameter: '{param}'.", param=param)
    return BadRequest(f"Invalid value for '{param}': {_lower_first(what)}.", param=param or None)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
