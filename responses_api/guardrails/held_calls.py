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
# What a call counts beside its arguments, so that there are not too many of them either.
CALL_BYTES = 100
SHORT_BYTES = 4 * 1024


class _HeldCall:
    """A call that is held. `looked_at` is how long it was when it was last found to be incomplete."""

    __slots__ = ("looked_at", "pieces", "size")

    def __init__(self) -> None:
        self.pieces: list[ToolCall] = []
        self.size = CALL_BYTES
        self.looked_at = 0

    def is_whole(self) -> bool:
        """Tell whether arguments are complete, as far as can be known: a plain text has no end of its own.
        What is long and was not is looked at again once it has doubled, or a provider could make us look at
        it all day."""
        if SHORT_BYTES < self.size < 2 * self.looked_at:
            return False
        arguments = self.arguments
        plain = arguments.lstrip()
        if plain and (plain[0] not in "{[" or is_container(arguments)):
            return True
        self.looked_at = self.size
        return False

    @property
    def arguments(self) -> str:
        return "".join(piece.arguments for piece in self.pieces)


class HeldCalls:
    """The calls of one answer that are held, in the order in which they began."""

    __slots__ = ("_ended", "_given_up", "_held", "size")

    def __init__(self) -> None:
        self._held: dict[Hashable, _HeldCall] = {}
        self._ended: set[Hashable] = set()
        self._given_up: set[Hashable] = set()
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._held)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._held

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
        call = self._held.get(delta.key)
        if call is None:
            call = self._held[delta.key] = _HeldCall()
            self.size += CALL_BYTES
        call.pieces.append(delta)
        size = text_bytes(delta.arguments)
        call.size += size
        self.size += size
        return True

    def give_up(self) -> list[ToolCall]:
        """Return all pieces that are held; what follows of these calls is not held."""
        pieces = [piece for call in self._held.values() for piece in call.pieces]
        self._given_up.update(self._held)
        self._held.clear()
        self.size = 0
        return pieces

    def release(self, *, is_end: bool = False) -> list[ToolCall]:
        """Return the calls that are whole, each in one piece."""
        whole: list[ToolCall] = []
        for key, call in list(self._held.items()):
            if is_end or call.is_whole():
                del self._held[key]
                self._ended.add(key)
                self.size -= call.size
                first = call.pieces[0]
                whole.append(ToolCall(key, call.arguments, first.call_id, first.name))
        return whole
