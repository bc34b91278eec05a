"""Hold each call of a tool until it is whole, because clients act on whole calls only.

A call is whole at the end, or once another item begins and its arguments are complete JSON, or none at all.
Servers of chats send several calls at once, a piece of each in turn.
"""

from __future__ import annotations

from collections.abc import Hashable

from gateway_project.lib.errors import UpstreamMalformed
from responses_api.guardrails.json_text import is_container
from responses_api.stream.written import text_bytes
from routing.protocols.shared.deltas import ToolCall

MAX_HELD_BYTES = 256 * 1024


class HeldCalls:
    """The calls of one answer that are held, in the order in which they began."""

    __slots__ = ("_ended", "_given_up", "_held", "size")

    def __init__(self) -> None:
        self._held: dict[Hashable, list[ToolCall]] = {}
        self._ended: set[Hashable] = set()
        self._given_up: set[Hashable] = set()
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._held)

    def add(self, delta: ToolCall) -> bool:
        """Hold a piece of a call, unless it is one that is held no more. Raise UpstreamMalformed for more of
        one that has ended."""
        if delta.key in self._given_up:
            return False
        if delta.key in self._ended:
            if delta.arguments.strip():
                raise UpstreamMalformed(
                    "The model continued a tool call that was already complete."
                )
            return True
        self._held.setdefault(delta.key, []).append(delta)
        self.size += text_bytes(delta.arguments)
        return True

    def give_up(self) -> list[ToolCall]:
        """Return all pieces that are held; what follows of these calls is not held."""
        pieces = [piece for call in self._held.values() for piece in call]
        self._given_up.update(self._held)
        self._held.clear()
        self.size = 0
        return pieces

    def release(self, *, is_end: bool = False, beside: Hashable = None) -> list[ToolCall]:
        """Return the calls that are whole, each in one piece, except the one that goes on now."""
        whole: list[ToolCall] = []
        for key, pieces in list(self._held.items()):
            arguments = "".join(piece.arguments for piece in pieces)
            if not is_end and (key == beside or not _is_whole(arguments)):
                continue
            del self._held[key]
            self._ended.add(key)
            self.size -= text_bytes(arguments)
            first = pieces[0]
            whole.append(ToolCall(key, arguments, first.call_id, first.name))
        return whole


def _is_whole(arguments: str) -> bool:
    """Tell whether arguments are complete, as far as can be known: a plain text has no end of its own."""
    plain = arguments.lstrip()
    return bool(plain) and (plain[0] not in "{[" or is_container(arguments))
