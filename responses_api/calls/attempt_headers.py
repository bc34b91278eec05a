"""Tell the client, in headers, how its call fared among the lanes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

ATTEMPTS_HEADER = "x-tollgate-attempts"
# Where the tenant may see what answers:
TARGET_HEADER = "x-tollgate-target"
ROUTING_HEADER = "x-tollgate-routing"
# With this header a client asks for the one before.
DEBUG_HEADER = b"x-tollgate-debug"
DEBUG_ROUTING = b"routing"
MOST_BYTES = 1000


def asks_for_routing(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a request asks how it was routed."""
    return DEBUG_ROUTING in [value.strip() for name, value in headers if name == DEBUG_HEADER]


def routing_text(outcomes: Iterable[tuple[str, str]]) -> str:
    """Name lanes with their outcomes, as many as fit into a header."""
    text = ", ".join(f"{_safe(lane)}={_safe(outcome)}" for lane, outcome in outcomes)
    return text if len(text) <= MOST_BYTES else text[: MOST_BYTES - 3] + "..."


@lru_cache(1000)
def target_text(name: str) -> str:
    return _safe(name)[:MOST_BYTES]


def _safe(text: str) -> str:
    """Return text that a header may hold; names of models may have any character."""
    if text.isascii() and text.isprintable() and "," not in text:
        return text
    return "".join(c if c.isascii() and c.isprintable() and c != "," else "_" for c in text)
