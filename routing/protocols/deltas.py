"""The stream vocabulary: six deltas, whatever the upstream speaks.

An adapter turns an upstream's frames, or its whole JSON answer, into these. It keeps no ids of ours, no
indexes and no open/close state: `key` is whatever the vendor uses to tell blocks apart (a choice's field, a
tool call's index, an item id, a block index), and the Assembler makes items of it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Text:
    """Visible text. `logprobs` are in the Responses API's shape; `phase` as in docs/wire.md 3.4."""

    key: Hashable
    text: str
    annotations: tuple[Json, ...] = ()
    logprobs: tuple[Json, ...] = ()
    phase: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The model declines, in words meant for the user."""

    key: Hashable
    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Thought. `part` tells summary parts apart; `sealed` is the opaque payload that must be sent back
    unmodified (encrypted_content, or a vendor's signature in our envelope), whole and at most once a key."""

    key: Hashable
    text: str
    kind: Literal["summary", "raw"] = "summary"
    part: Hashable = 0
    sealed: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A piece of a call. `name` and `call_id` are given with the first piece of a key (empty later);
    `arguments` is a piece of the JSON text, or of the plain text of a custom tool's input."""

    key: Hashable
    arguments: str
    call_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Opaque:
    """An output item the vocabulary has no word for, complete, in the Responses API's shape. `size`: bytes
    the model wrote for it, if it did just now."""

    key: Hashable
    item: Json
    size: int = 0


@dataclass(frozen=True, slots=True)
class Stop:
    """The upstream said that it has finished. Without it the answer has failed."""

    reason: Literal["stop", "tool_calls", "length", "content_filter"]


Delta = Text | Refusal | Reasoning | ToolCall | Opaque | Stop
