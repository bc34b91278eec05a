"""Know, wherever code runs for a request, which request that is: for the lines it logs, and for its trace.

Whoever takes a request in calls `enter`, before anything else is done for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from gateway_project.lib import clock, trace_context
from gateway_project.lib.trace_context import TraceContext


class Tracer(Protocol):
    """Keeper of the traces of one process."""

    def samples(self, trace: TraceContext) -> bool:
        """Tell whether a trace is kept although nothing in it fails."""

    def keep(self, request: CurrentRequest, facts: Any, *, failed: bool, is_known: bool) -> None:
        """Keep the trace of a request that has ended, if it is to be kept."""


class CurrentRequest:
    """A request, a turn of a WebSocket or a run in the background, from its beginning.

    `parts` are what its trace is to show beside the request itself, as they end; `began_at` is
    `clock.monotonic`.
    """

    __slots__ = (
        "began_at", "ending_at", "parts", "request_id", "trace", "tracer", "upstream_seconds",
    )  # fmt: skip

    def __init__(
        self, request_id: str, trace: TraceContext, tracer: Tracer | None, began_at: float
    ) -> None:
        self.request_id = request_id
        self.trace = trace
        self.tracer = tracer
        self.began_at = began_at
        self.ending_at: float | None = None  # when all was there that the answer is made of
        self.upstream_seconds = 0.0
        self.parts: list[Any] = []

    @property
    def duration_ms(self) -> float:
        return (clock.monotonic() - self.began_at) * 1000

    @property
    def is_sampled(self) -> bool:
        """Tell whether other programs should keep their spans of this trace."""
        return self.tracer is not None and self.tracer.samples(self.trace)

    def log_fields(self) -> dict[str, str]:
        """Return what each line that is logged for it begins with."""
        trace = self.trace
        return {
            "request_id": self.request_id,
            "trace_id": trace.trace_id,
            "span_id": trace.span_id,
        }


_current: ContextVar[CurrentRequest | None] = ContextVar("current_request", default=None)
current = _current.get


def enter(
    request_id: str,
    headers: Iterable[tuple[bytes, bytes]],
    tracer: Tracer | None,
    number: int = 0,
) -> CurrentRequest:
    """Begin a request: what this task does from now on, and the tasks it makes, is done for it. `number`
    tells its span from others of the same request."""
    trace = trace_context.begin(request_id, headers, number)
    request = CurrentRequest(request_id, trace, tracer, clock.monotonic())
    _current.set(request)
    return request


@contextmanager
def stepped_out_of() -> Iterator[None]:
    """Make something that outlives the request, and would hold it in a copy of this task's context."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def leave() -> None:
    """End the request in a task that goes on without it, whose context would hold it."""
    _current.set(None)
