"""Define the stream vocabulary: six deltas, whatever the upstream speaks."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal, Protocol

from msgspec import Struct

from gateway_project.lib.json import Json
from gateway_project.lib.sse import Frame
from routing.protocols.shared.usage import Meter


class Text(Struct, frozen=True):
    """Visible text. `logprobs` are in the Responses API's shape; `phase` as in docs/wire.md 3.4."""

    key: Hashable
    text: str
    annotations: tuple[Json, ...] = ()
    logprobs: tuple[Json, ...] = ()
    phase: str | None = None


class Refusal(Struct, frozen=True):
    """The model declines, in words meant for the user."""

    key: Hashable
    text: str


class Reasoning(Struct, frozen=True):
    """Thought. `part` tells summary parts apart; `sealed` is the opaque payload that must be sent back
    unmodified (encrypted_content, or a vendor's signature in our envelope), whole and at most once a key."""

    key: Hashable
    text: str
    kind: Literal["summary", "raw"] = "summary"
    part: Hashable = 0
    sealed: str | None = None


class ToolCall(Struct, frozen=True):
    """A piece of a call. `name` and `call_id` are given with the first piece of a key (empty later);
    `arguments` is a piece of the JSON text, or of the plain text of a custom tool's input."""

    key: Hashable
    arguments: str
    call_id: str = ""
    name: str = ""


class Opaque(Struct, frozen=True):
    """An output item the vocabulary has no word for, complete, in the Responses API's shape. `size`: bytes
    the model wrote for it, if it did just now."""

    key: Hashable
    item: Json
    size: int = 0


class Stop(Struct, frozen=True):
    """The upstream said that it has finished. Without it the answer has failed."""

    reason: Literal["stop", "tool_calls", "length", "content_filter"]


Delta = Text | Refusal | Reasoning | ToolCall | Opaque | Stop


class Adapter(Protocol):
    """Read the answer to one call. Every method raises the UpstreamError that the upstream reports.

    `done`: the protocol's own end was seen. `dropped` counts the frames that could not be read. `facts` are
    for the finished object.
    """

    meter: Meter
    done: bool
    dropped: int
    facts: Json

    def deltas(self, frame: Frame) -> list[Delta]:
        """Read one frame of a stream."""

    def body(self, raw: bytes) -> list[Delta]:
        """Read a whole JSON answer."""

    def finish(self) -> list[Delta]:
        """Give what was held back, now that the stream is over."""
