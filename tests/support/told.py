"""Deltas put together the plain way, and ways to feed an adapter."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway_project.lib.sse import Frame, Parser
from routing.protocols.shared.deltas import Delta, Opaque, Reasoning, Refusal, Stop, Text, ToolCall

Json = dict[str, Any]


@dataclass
class Told:
    """Everything an answer says, without its pieces."""

    text: str = ""
    refusal: str = ""
    summaries: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    sealed: list[str] = field(default_factory=list)
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    annotations: list[Json] = field(default_factory=list)
    logprobs: list[Json] = field(default_factory=list)
    items: list[Json] = field(default_factory=list)
    stop: str = ""


def told(deltas: Iterable[Delta]) -> Told:
    """The whole that the pieces add up to; a second Stop, or anything after it, is a mistake."""
    found = Told()
    thoughts: dict[tuple[str, Hashable, Hashable], str] = {}
    calls: dict[Hashable, tuple[str, str, str]] = {}
    for delta in deltas:
        assert not found.stop, f"{delta} came after Stop"
        match delta:
            case Text():
                found.text += delta.text
                found.annotations += delta.annotations
                found.logprobs += delta.logprobs
            case Refusal():
                found.refusal += delta.text
            case Reasoning():
                place = (delta.kind, delta.key, delta.part)
                if delta.text:
                    thoughts[place] = thoughts.get(place, "") + delta.text
                if delta.sealed is not None:
                    found.sealed.append(delta.sealed)
            case ToolCall():
                call_id, name, arguments = calls.get(delta.key, (delta.call_id, delta.name, ""))
                assert name, "a call began without its name"
                calls[delta.key] = (call_id, name, arguments + delta.arguments)
            case Opaque():
                found.items.append(delta.item)
            case Stop():
                found.stop = delta.reason
    found.calls = list(calls.values())
    found.summaries = [words for (kind, _, _), words in thoughts.items() if kind == "summary"]
    found.thoughts = [words for (kind, _, _), words in thoughts.items() if kind == "raw"]
    return found


def fed(adapter: Any, stream: bytes, step: int | None = None) -> list[Delta]:
    """The deltas of a whole stream, cut into chunks of `step` bytes."""
    step = step or len(stream) or 1
    parser = Parser()
    frames = [
        frame
        for start in range(0, len(stream), step)
        for frame in parser.feed(stream[start : start + step])
    ]
    frames += parser.finish()
    found = [delta for frame in frames for delta in adapter.deltas(frame)]
    return found + adapter.finish()


def frames(*events: Any) -> list[Frame]:
    """Each event as a frame; bytes are its data as they stand."""
    return [
        Frame(b"", event if isinstance(event, bytes) else orjson.dumps(event)) for event in events
    ]


def read(adapter: Any, *events: Any) -> Told:
    """Return what these events tell, to the end of their stream."""
    found = [delta for frame in frames(*events) for delta in adapter.deltas(frame)]
    return told(found + adapter.finish())
