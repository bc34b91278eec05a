"""Check JSON against the shapes a door knows, with errors that name the exact field.

A shape is a msgspec Struct that is only used to check: what travels on is the JSON the client sent,
because fields we do not know must survive.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import msgspec
import orjson

from gateway_project.lib import structure
from gateway_project.lib.errors import BadRequest, InvalidJson, RequestTooComplex
from gateway_project.lib.structure import Caps, TooMuchStructure, is_deeper
from responses_api.guardrails.output import OutputGuard
from routing.protocols.shared import envelope
from tenants.token_classes import Quantities

# orjson's words for JSON that is nested deeper than it reads.
_TOO_DEEP_TO_READ = "depth limit"

# An item, a part or a tool takes at most as much work as three times this many bytes of plain text.
UNIT_BYTES = 1024


class UsageOptions(msgspec.Struct):
    """OpenRouter's wish to be told what a call cost: `"usage": {"include": true}`."""

    include: bool | None = None


class Compaction(msgspec.Struct, frozen=True):
    """The means to replace a conversation by a summary: `seal` turns it into an item's content, `items` is
    the conversation as the client knows it, with earlier compactions still sealed."""

    seal: Callable[[str], str]
    items: list[dict[str, Any]]


class ModelCall(msgspec.Struct, frozen=True):
    """One generation request as its door read it.

    door         the name of one in `registry.DOORS`
    body         the client's own JSON, or what became of it once its history was put before its input
    references   positions of items in the input that stand for stored ones
    history      how many items of the input the client did not send itself
    compaction   there where a summary may be asked for
    preceding    an item to be shown before the answer's own
    clamp        the output limit that budgets put on the call and on a summary made in its place
    tells_cost   the answer's `usage` says what was charged; None: the operator's setting decides
    units        the items, parts and tools it has, counted only where it is large
    guard        filters the answer, which is translated then; None: no guardrail can change it
    is_kept      its answer is to be given again, so that it is put together whole even if it is streamed
    may_use      the most it uses of units other than tokens (tenants/units.py), held and charged to limits
    """

    door: str
    model: str
    stream: bool
    include_usage: bool
    body: dict[str, Any]
    size: int
    references: tuple[int, ...] = ()
    history: int = 0
    compaction: Compaction | None = None
    preceding: dict[str, Any] | None = None
    clamp: int | None = None
    tells_cost: bool | None = None
    units: int = 0
    guard: OutputGuard | None = None
    is_kept: bool = False
    may_use: Quantities = ()

    @property
    def weight(self) -> int:
        """Return the bytes of plain text that take at least a third of the work this request takes."""
        return self.size + UNIT_BYTES * self.units

    def client_param(self, param: str) -> str:
        """Give the client's name for a field of `body`, which history may have been put before."""
        found = _ITEM.match(param) if self.history else None
        if found is None:
            return param
        position = int(found[1]) - self.history
        if position >= 0:
            return f"input[{position}]{found[2]}"
        return "previous_response_id" if self.body.get("previous_response_id") else "conversation"


_ITEM = re.compile(r"input\[(\d+)\](.*)")


def rename_param(error: BadRequest, client_param: Callable[[str], str]) -> BadRequest:
    """Make an error name the field as the client wrote it."""
    if error.param is not None:
        param = client_param(error.param)
        error.message = error.message.replace(f"'{error.param}'", f"'{param}'")
        error.param = param
    return error


def parse_object(raw: bytes | str, caps: Caps | None = None) -> dict[str, Any]:
    """Parse the JSON object in a request body, no deeper than `caps` allow. Raises InvalidJson,
    BadRequest."""
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


def check_count(cap: str, found: int, most: int, param: str) -> int:
    """Return what was found. Raise RequestTooComplex where it is more than a cap allows."""
    if found > most:
        raise RequestTooComplex(cap, most, param=param)
    return found


def count_parts(items: Iterable[dict[str, Any]]) -> int:
    """Count the entries that the lists in items or messages have together: parts of a content or an output,
    summaries, calls of tools."""
    lists = [value for item in items for value in item.values() if value.__class__ is list]
    return sum(map(len, lists))


def check_sealed(items: Iterable[dict[str, Any]], caps: Caps) -> None:
    """Raise RequestTooComplex where the payloads that came sealed hold more structure than a body may:
    they will be opened."""
    sealed = (item.get("encrypted_content") for item in items)
    try:
        structure.check(caps, *(envelope.read(one) for one in sealed if isinstance(one, str)))
    except TooMuchStructure as error:
        raise RequestTooComplex(error.cap, error.most, of="encrypted content") from None


def count_tools(tools: Iterable[Any]) -> int:
    """Count the tools, those in namespaces included."""
    count = 0
    for tool in tools:
        inner = tool.get("tools") if isinstance(tool, dict) else None
        count += 1 + (len(inner) if isinstance(inner, list) else 0)
    return count


def wants_cost(body: dict[str, Any]) -> bool | None:
    """Tell whether a checked body asks for the charge of its call; None if it does not say."""
    options = body.get("usage")
    wanted: bool | None = options.get("include") if options else None
    return wanted


def check(value: Any, shape: Any, at: str = "") -> None:
    """Raise BadRequest naming the field unless `value` fits `shape`; `at` is where the value stands."""
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise _explain(str(error), at, value) from None


def check_each(values: Sequence[Any], shape: Any, at: str) -> None:
    """Check every value of a list that stands at `at`. All at once, because a call for each costs several
    times what checking it does; one after the other only to find which of them is wrong."""
    if not fits_each(values, shape):
        for position, value in enumerate(values):
            check(value, shape, f"{at}[{position}]")


def fits_each(values: Sequence[Any], shape: Any) -> bool:
    """Return whether every value of a list fits `shape`."""
    if not values:
        return True
    try:
        msgspec.convert({"values": values}, _list_of(shape))
    except msgspec.ValidationError:
        return False
    return True


@cache
def _list_of(shape: Any) -> Any:
    """Make a struct that holds such a list: of a struct msgspec remembers the type, of a list it does not."""
    return msgspec.defstruct("ListOf", [("values", list[shape])])


_AT = re.compile(r"(.*?)(?: - at `(.*)`)?\Z", re.DOTALL)
_OUT_OF_RANGE = re.compile(r"Expected `\w+` [<>]=")
_MISSING = re.compile(r"Object missing required field `(\w+)`")


def _explain(words: str, at: str, value: Any) -> BadRequest:
    """Make msgspec's words a sentence with the path the client knows."""
    match = _AT.match(words)
    what, path = match.groups() if match is not None else (words, None)
    param = at + (path or "").removeprefix("key` in `").removeprefix("$")
    param = param.removeprefix(".")
    if missing := _MISSING.match(what):
        param = f"{param}.{missing.group(1)}".removeprefix(".")
        return BadRequest(f"Missing required parameter: '{param}'.", param=param)
    if _OUT_OF_RANGE.match(what) and isinstance(value, dict) and (path or "")[2:] in value:
        what = f"{what}, got {value[(path or '')[2:]]!r}"[:200]
    return BadRequest(f"Invalid value for '{param}': {_lower_first(what)}.", param=param or None)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
