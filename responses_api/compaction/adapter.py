"""Rewrite an upstream's deltas where a conversation is compacted: make an item of a summary, or put one
before the answer."""

from __future__ import annotations

from collections.abc import Callable

from gateway_project.lib.errors import UpstreamMalformed
from gateway_project.lib.json import Json
from gateway_project.lib.sse import Frame
from responses_api.compaction import sealed
from responses_api.stream.output_gate import OutputGate
from routing.protocols.shared.deltas import Adapter, Delta, Opaque, Stop, Text

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
        return self._take(self._inner.deltas(frame))

    def body(self, raw: bytes) -> list[Delta]:
        return self._take(self._inner.body(raw))

    def finish(self) -> list[Delta]:
        return self._take(self._inner.finish())

    def _take(self, found: list[Delta]) -> list[Delta]:
        self.done, self.dropped = self._inner.done, self._inner.dropped
        return self._rewrite(found)


def filter_deltas(adapter: Adapter, gate: OutputGate) -> Rewritten:
    """Lead an adapter's deltas through guardrails before anything is made of them; an answer that is blocked
    ends as one that its provider's filter has ended."""

    def rewrite(found: list[Delta]) -> list[Delta]:
        passed = gate.take(found)
        gate.tell()
        return [Stop("content_filter")] if gate.is_blocked else passed

    return Rewritten(adapter, rewrite)


def compact_answer(adapter: Adapter, seal: Callable[[str], str]) -> Rewritten:
    """Take the answer's text for a summary: at its Stop give one compaction item, and nothing before it.

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


def prepend_item(adapter: Adapter, item: Json) -> Rewritten:
    """Put the compaction of what is answered, made beforehand (`context_management`), before the answer."""
    waiting = [Opaque(_KEY, item)]

    def rewrite(found: list[Delta]) -> list[Delta]:
        if not found or not waiting:
            return found
        return [waiting.pop(), *found]

    return Rewritten(adapter, rewrite)
