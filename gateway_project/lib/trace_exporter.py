"""Keep the traces of requests that have ended, and send them to a collector from a thread.

A request pays for a decision and an append. Making spans of what was kept, writing them as JSON and sending
them is the thread's, and whatever a collector does, it costs no request anything: the queue is bounded, what
is too much for it is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from gateway_project.lib import clock, otlp, trace_context
from gateway_project.lib.current_request import CurrentRequest
from gateway_project.lib.log import Allowance
from gateway_project.lib.otlp import AttributeValue, TraceSpan
from gateway_project.lib.otlp_endpoint import OtlpAnswer, OtlpEndpoint
from gateway_project.lib.trace_context import TraceContext

logger = logging.getLogger("tollgate.traces")

MAX_QUEUED = 10_000
MAX_SPANS = 512  # of one post
WAKE_AT = 128  # requests, which have some spans each
EXPORT_SECONDS = 5.0
TRIES = 5
FIRST_PAUSE_SECONDS = 1.0
REPORT_SECONDS = 60.0
STOP_SECONDS = 2.0
# Failures that nobody sampled: enough to see what fails, too few to be flooded by one who causes them.
FAILURES_PER_SECOND = 50
FAILURES_BURST = 500
# Another thread may run after so many: the event loop would wait for the interpreter's lock otherwise.
SPANS_AT_ONCE = 16


class KeptTrace(Struct, frozen=True):
    """A request that has ended. `facts` are what is known of it, `at` and `ended_at` the same instant by the
    wall and by `clock.monotonic`."""

    request: CurrentRequest
    facts: Any
    at: float
    ended_at: float

    def nanoseconds(self, instant: float) -> int:
        """Return an instant of `clock.monotonic` as nanoseconds since the epoch."""
        return int((self.at + instant - self.ended_at) * 1_000_000_000)


class TraceExporter:
    """The traces of one process. `spans_of` makes the spans of a request that was kept."""

    def __init__(
        self,
        endpoint: OtlpEndpoint,
        ratio: float,
        resource: Mapping[str, AttributeValue],
        spans_of: Callable[[KeptTrace], list[TraceSpan]],
    ) -> None:
        self._endpoint = endpoint
        self._ratio = ratio
        self._resource = resource
        self._spans_of = spans_of
        self._queue: deque[KeptTrace] = deque()
        self._failures = Allowance(FAILURES_PER_SECOND, FAILURES_BURST)
        self._wake = threading.Event()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._reported_at = float("-inf")
        self._reported = (0, 0)
        self._problem = ""
        # Each is raised by one thread alone.
        self.overflowed = 0  # traces that found the queue full
        self.unsent = 0  # spans that the collector did not take
        self.sent = 0  # spans that it took

    # On the path of a request

    def samples(self, trace: TraceContext) -> bool:
        """Tell whether a trace is kept although nothing in it fails."""
        if trace.is_sampled is not None:
            return trace.is_sampled
        return trace_context.is_within(self._ratio, trace.trace_id)

    def keep(self, request: CurrentRequest, facts: Any, *, failed: bool, is_known: bool) -> None:
        """Keep the trace of a request that has ended, if it is sampled or has failed. One who `is_known` may
        have every trace kept; a stranger's wish is not heard."""
        if not (is_known and self.samples(request.trace)) and not (
            failed and self._failures.take()
        ):
            return
        waiting = len(self._queue)
        if waiting >= MAX_QUEUED:
            self.overflowed += 1
            return
        self._queue.append(KeptTrace(request, facts, clock.timestamp(), clock.monotonic()))
        if waiting == WAKE_AT:
            self._wake.set()

    @property
    def waiting(self) -> int:
        """Return how many traces are queued."""
        return len(self._queue)

    # In the thread

    def start(self) -> None:
        self._thread.start()

    def send_now(self) -> None:
        """Send what waits, without waiting for more."""
        self._wake.set()

    async def stop(self) -> None:
        """Send what is there, if the collector takes it at once; leave it otherwise."""
        self._is_stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, STOP_SECONDS)
        if left := self.waiting:
            logger.warning("%d traces were not sent before the end", left)

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            self._wake.wait(EXPORT_SECONDS)
            self._wake.clear()
            self._export_all()
        self._export_all()

    def _export_all(self) -> None:
        """Send what waits, batch by batch, until there is nothing left or the collector does not take it."""
        try:
            while self._queue and self._export(self._batch()):
                pass
        except Exception:
            logger.exception("traces could not be sent")
        self._report()

    def _batch(self) -> list[TraceSpan]:
        spans: list[TraceSpan] = []
        unyielded = 0
        while self._queue and len(spans) < MAX_SPANS:
            made = self._spans_of(self._queue.popleft())
            spans += made
            unyielded += len(made)
            if unyielded >= SPANS_AT_ONCE:
                unyielded = 0
                time.sleep(0)  # lets a thread go on that waits for the interpreter
        return spans

    def _export(self, spans: list[TraceSpan]) -> bool:
        """Send spans, again if the collector asks for it; return whether it took them."""
        body = otlp.encode(self._resource, "tollgate", spans)
        pause = FIRST_PAUSE_SECONDS
        for left in reversed(range(TRIES)):
            stopping = self._is_stopping.is_set()
            timeout = {"timeout_seconds": STOP_SECONDS / 2} if stopping else {}
            answer = self._endpoint.post(body, **timeout)
            if not answer.problem:
                self._took(spans, answer)
                return True
            if not answer.is_repeatable or not left or stopping:
                break
            asked = answer.retry_after_seconds
            self._is_stopping.wait(pause if asked is None else asked)
            pause *= 2
        self.unsent += len(spans)
        self._problem = answer.problem
        return not self._is_stopping.is_set()

    def _took(self, spans: list[TraceSpan], answer: OtlpAnswer) -> None:
        rejected = min(answer.rejected, len(spans))
        self.sent += len(spans) - rejected
        if rejected:
            self.unsent += rejected
            self._problem = "rejected by the collector"

    def _report(self) -> None:
        """Log what was dropped, once a minute."""
        now, dropped = clock.monotonic(), (self.overflowed, self.unsent)
        if dropped == self._reported or now - self._reported_at < REPORT_SECONDS:
            return
        overflowed, unsent = (new - old for new, old in zip(dropped, self._reported, strict=True))
        self._reported, self._reported_at = dropped, now
        logger.warning(
            "%d traces were dropped because the queue was full, %d spans because %s did not take them%s",
            overflowed,
            unsent,
            self._endpoint,
            f": {self._problem}" if self._problem else "",
        )
        self._problem = ""
