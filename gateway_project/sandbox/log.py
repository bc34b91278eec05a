"""Record every call: what came in, what went out, and how it ended."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import orjson

from gateway_project.lib.json import Json
from gateway_project.sandbox.frames import StreamTally

SECRET_HEADERS = ("authorization", "x-api-key")
DIGEST_CHARACTERS = 16


@dataclass(slots=True)
class LoggedCall:
    """A request and its outcome. Mutable while the answer is being sent.

    Times are seconds of the monotonic clock. `ended` is None while the call runs, then `completed`,
    `client_closed`, `server_stopped` or `fault:<name>`. `generated` are the input and output tokens of
    the whole answer, which a vendor would bill: they are known at once, even if only a part of it was
    read.
    """

    number: int
    method: str
    path: str
    headers: dict[str, str]
    protocol: str | None = None
    model: str | None = None
    stream: bool = False
    body: Any = None
    fault: str | None = None
    status: int = 0
    generated: tuple[int, int] = (0, 0)
    sent: StreamTally = field(default_factory=StreamTally)
    ended: str | None = None
    started_at: float = field(default_factory=monotonic)
    first_byte_at: float | None = None
    ended_at: float | None = None
    client_closed_at: float | None = None

    @property
    def events_sent(self) -> int:
        """Return how many frames of the stream were handed to the socket, `[DONE]` included; 0 for a JSON
        answer.
        """
        return self.sent.events

    @property
    def text_bytes_sent(self) -> int:
        """Return the bytes of visible answer text, before JSON, handed to the socket."""
        return self.sent.text_bytes

    @property
    def usage(self) -> Json | None:
        """Return the last usage object that was sent, in the protocol's own terms."""
        return self.sent.usage

    def mark_first_byte(self, status: int) -> None:
        self.status = status
        self.first_byte_at = monotonic()

    def end(self, how: str) -> None:
        self.ended = how
        self.ended_at = monotonic()
        if how == "client_closed":
            self.client_closed_at = self.ended_at

    def line(self, with_body: bool) -> bytes:
        """Return the call as a line of the log file, which holds no secret."""
        shown = {
            "number": self.number,
            "protocol": self.protocol,
            "method": self.method,
            "path": self.path,
            "model": self.model,
            "stream": self.stream,
            "fault": self.fault,
            "status": self.status,
            "events_sent": self.sent.events,
            "text_bytes_sent": self.sent.text_bytes,
            "usage": self.sent.usage,
            "generated": self.generated,
            "ended": self.ended,
            "started_at": self.started_at,
            "first_byte_at": self.first_byte_at,
            "ended_at": self.ended_at,
            "client_closed_at": self.client_closed_at,
            "headers": mask_secrets(self.headers),
        }
        if with_body:
            shown["body"] = self.body
        return orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE)


def mask_secrets(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers with secrets replaced by the start of their SHA-256."""
    return {
        name: _digest(value) if name in SECRET_HEADERS else value for name, value in headers.items()
    }


def _digest(secret: str) -> str:
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()[:DIGEST_CHARACTERS]}"


class LogFile:
    """Appends one line a call, unbuffered: what has ended is on record whatever happens next."""

    def __init__(self, path: str | os.PathLike[str], with_bodies: bool = False) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._descriptor = os.open(Path(path), flags, 0o600)
        self._with_bodies = with_bodies

    def write(self, call: LoggedCall) -> None:
        os.write(self._descriptor, call.line(self._with_bodies))

    def close(self) -> None:
        os.close(self._descriptor)
