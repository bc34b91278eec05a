"""Represent what goes back on the wire: a value that faults can change and tests script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gateway_project.sandbox.frames import Frames, Mark

JSON = "application/json"
EVENT_STREAM = "text/event-stream; charset=utf-8"

End = Literal["clean", "cut", "reset", "hang"]

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SandboxReply:
    """An answer.

    A reply with a `length` is sent under Content-Length, one without is chunked, one HTTP chunk a frame.
    `end` says what happens after the last frame: the body ends properly, the connection is closed or
    reset, or nothing happens any more. `body` is the whole JSON body, for faults that damage it. `head`
    replaces the status line and headers the other fields would give. A `doomed` connection is reset when
    the next request arrives.
    """

    status: int
    content_type: str
    frames: Frames
    headers: Headers = ()
    body: bytes = b""
    length: int | None = None
    end: End = "clean"
    wait_ms: float = 0
    pace_ms: float = 0
    preamble: bytes = b""
    head: bytes | None = None
    keep_alive: bool = True
    doomed: bool = False


def whole(
    status: int, body: bytes, headers: Headers = (), content_type: str = JSON
) -> SandboxReply:
    return SandboxReply(status, content_type, iter((body,)), headers, body=body, length=len(body))


@dataclass(frozen=True, slots=True)
class Scripted:
    """A raw answer given by a test: these bytes, with exactly these HTTP chunk boundaries.

    A single chunk that is no event stream goes out under Content-Length, which is one too high if the end
    is not clean, so that the loss can be seen.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: Sequence[bytes] = ()
    content_type: str = EVENT_STREAM
    delay_ms: float = 0
    pace_ms: float = 0
    end: Literal["clean", "cut", "hang"] = "clean"

    def reply(self) -> SandboxReply:
        is_whole = len(self.chunks) <= 1 and not self.content_type.startswith("text/event-stream")
        size = sum(map(len, self.chunks)) + (self.end != "clean")
        return SandboxReply(
            self.status,
            self.content_type,
            self._frames(),
            tuple(self.headers.items()),
            length=size if is_whole else None,
            end=self.end,
            wait_ms=self.delay_ms,
            pace_ms=self.pace_ms,
        )

    def _frames(self) -> Frames:
        for chunk in self.chunks:
            yield Mark.DELTA if self.pace_ms else Mark.FLUSH
            yield chunk
