"""An upstream's deltas on their way to the Assembler, where a conversation is compacted: one rewriting makes
an item of a summary, the other puts an item before the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway_project.lib.errors import UpstreamMalformed
from gateway_project.lib.sse import Frame
from responses_api.compaction import sealed
from responses_api.translation import Adapter
from routing.protocols.deltas import Delta, Opaque, Stop, Text

Json = dict[str, Any]

_KEY = "compaction"


class Rewritten:
    """An adapter whose deltas go through a function."""

    __slots__ = ("_inner", "_rewrite", "done", "dropped", "facts", "meter")

    def __init__(self, inner: Adapter, rewrite: Callable[[list[Delta]], list[Delta]]) -> None:
        self._inner = inner
        self._rewrite = rewrite
        self.meter = inner.meter
        self.facts = inner.facts
        self.done = inner.done
        self.dropped = inner.dropped

    def deltas(self, frame: Frame) -> list[Delta]:
        return self._taken(self._inner.deltas(frame))

    def body(self, raw: bytes) -> list[Delta]:
        return self._taken(self._inner.body(raw))

    def finish(self) -> list[Delta]:
        return self._taken(self._inner.finish())

    def _taken(self, found: list[Delta]) -> list[Delta]:
        self.done, self.dropped = self._inner.done, self._inner.dropped
        return self._rewrite(found)


def compacting(adapter: Adapter, seal: Callable[[str], str]) -> Rewritten:
    """The answer's text is a summary: at its Stop there is one compaction item, and nothing before it.

    Raises UpstreamMalformed if there is no summary. One that was cut at the output limit is taken as far as
    it goes: from that the client can go on, while a failure leaves it with what is too long.
    """
    pieces: list[str] = []

    def rewrite(found: list[Delta]) -> list[Delta]:
        for delta in found:
            if isinstance(delta, Text):
                pieces.append(delta.text)
            elif isinstance(delta, Stop):
                summary = "" if delta.reason == "content_filter" else "".join(pieces).strip()
                if not summary:
                    raise UpstreamMalformed("The model gave no summary of the conversation.")
                return [Opaque(_KEY, sealed.item(seal(summary)), len(summary)), Stop("stop")]
        return []

    return Rewritten(adapter, rewrite)


def preceded(adapter: Adapter, item: Json) -> Rewritten:
    """The answer comes after the compaction of what it answers, made beforehand (`context_management`)."""
    waiting = [Opaque(_KEY, item)]

    def rewrite(found: list[Delta]) -> list[Delta]:
        if not found or not waiting:
            return found
        return [waiting.pop(), *found]

    return Rewritten(adapter, rewrite)
