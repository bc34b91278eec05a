"""Tell which calls begin alike, and remember which lane answered them: their beginning may be cached there.

A name that the client gives (a cache key, a session, a conversation) decides; without one it is what the call
begins with: instructions, the names of its tools, and the first words of the user. That stays the same while
a conversation grows, whether the client sends it whole or the gateway puts the history before it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

MAX_REMEMBERED = 10_000
# What is hashed of a call.
MAX_BYTES = 16_384
MAX_TEXT = 5_000
MAX_TOOLS = 64
MAX_TOOL_NAME = 64
# The first words of the user stand near the beginning, or they are not looked for.
MAX_ITEMS = 32

_SYSTEM = ("system", "developer")


def key_of_name(tenant_id: int, alias: str, name: str) -> int:
    """Return the affinity of calls to which the client gives this name; never 0."""
    return _number(f"{tenant_id}\0{alias}\0name\0{name[:MAX_TEXT]}")


def key_of_beginning(tenant_id: int, alias: str, body: dict[str, Any]) -> int:
    """Return the affinity of calls that begin as this one does, in any format; never 0."""
    return _number("\0".join((str(tenant_id), alias, "text", *_beginning(body))))


def _number(text: str) -> int:
    raw = text.encode("utf-8", "surrogatepass")[:MAX_BYTES]
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest()) or 1


def _beginning(body: dict[str, Any]) -> Iterator[str]:
    for name in ("instructions", "system"):
        if body.get(name):
            yield _text(body[name])
    yield from _tool_names(body.get("tools") or body.get("functions"))
    said = body.get("input") or body.get("messages")
    if not isinstance(said, list):
        yield _text(said)
        return
    if system := _first_text(said, _SYSTEM):
        yield system
    yield _first_text(said, ("user",))


def _first_text(said: list[Any], roles: tuple[str, ...]) -> str:
    """Return the first words of somebody, if they stand near the beginning."""
    for item in said[:MAX_ITEMS]:
        if isinstance(item, dict) and item.get("role") in roles:
            return _text(item.get("content"))
    return ""


def _tool_names(tools: Any) -> Iterator[str]:
    for tool in tools[:MAX_TOOLS] if isinstance(tools, list) else ():
        if isinstance(tool, dict):
            named = tool.get("function")
            name = named.get("name") if isinstance(named, dict) else tool.get("name")
            yield str(name or tool.get("type"))[:MAX_TOOL_NAME]


def _text(content: Any) -> str:
    """Return a text, or the first text among some parts."""
    if isinstance(content, str):
        return content[:MAX_TEXT]
    for part in content[:MAX_ITEMS] if isinstance(content, list) else ():
        text = part.get("text") if isinstance(part, dict) else None
        if isinstance(text, str):
            return text[:MAX_TEXT]
    return ""


class Remembered(Struct, frozen=True):
    """The lane that answered last, and the input tokens it had then."""

    lane_id: str
    tokens: int
    at: float


NOTHING = Remembered("", 0, 0.0)


class AffinityMemory:
    """The lanes that answered the calls of this process, those used last. Times in monotonic seconds."""

    def __init__(self, most: int = MAX_REMEMBERED) -> None:
        self._most = most
        self._lanes: OrderedDict[int, Remembered] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lanes)

    def recall(self, affinity: int, now: float, seconds: float) -> Remembered:
        """Return what answered such a call within so many seconds, or NOTHING."""
        found = self._lanes.get(affinity)
        return found if found is not None and now - found.at < seconds else NOTHING

    def remember(self, affinity: int, lane_id: str, tokens: int, now: float) -> None:
        """Note a success. The one that is longest ago is forgotten where there are too many."""
        self._lanes[affinity] = Remembered(lane_id, tokens, now)
        self._lanes.move_to_end(affinity)
        if len(self._lanes) > self._most:
            self._lanes.popitem(last=False)
