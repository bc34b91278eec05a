"""Translate between two protocols: upstream frames become deltas, steps, and the door's own bytes.

Implements `UpstreamReader`, so that an exchange need not know whether a call is relayed or translated.
"""

from __future__ import annotations

from gateway_project.lib.errors import GatewayError, UpstreamCut, UpstreamError, UpstreamMalformed
from gateway_project.lib.json import Json
from gateway_project.lib.sse import Frame
from responses_api.stream.answer_charge import AnswerCharge
from responses_api.stream.assembler import Assembler
from responses_api.stream.encoder import Encoder
from responses_api.stream.output_gate import OutputGate
from responses_api.stream.steps import Ended
from responses_api.stream.tally import Tally
from responses_api.stream.written import text_bytes
from routing.protocols.shared.deltas import (
    Adapter,
    Delta,
    Opaque,
    Reasoning,
    Refusal,
    Stop,
    Text,
    ToolCall,
)
from routing.route import ResolvedTarget
from tenants.token_classes import Usage

_IN_WORDS = (Text, Reasoning, Refusal)


def size_of(delta: Delta) -> int:
    """Estimate the bytes of what the model wrote."""
    if isinstance(delta, _IN_WORDS):
        return text_bytes(delta.text)
    if isinstance(delta, ToolCall):
        return text_bytes(delta.arguments) + text_bytes(delta.name)
    return delta.size if isinstance(delta, Opaque) else 0


class Translation:
    """Translate one attempt's answer. A `gate` may change it, and hold it for a while."""

    __slots__ = (
        "_adapter", "_assembler", "_encoder", "_gate", "_is_over", "_provider", "_response", "ended",
        "failure", "frames_dropped", "frames_forwarded", "has_output", "meter", "status", "tally",
    )  # fmt: skip

    def __init__(
        self,
        adapter: Adapter,
        assembler: Assembler,
        encoder: Encoder,
        target: ResolvedTarget,
        gate: OutputGate | None = None,
    ) -> None:
        self._adapter = adapter
        self._gate = gate
        self._is_over = False  # the upstream has said everything
        self._assembler = assembler
        self._encoder = encoder
        self._provider = target.provider
        self._response: Json | None = None
        self.meter = adapter.meter
        self.tally = Tally()
        self.has_output = False
        self.ended = False
        self.failure: UpstreamError | None = None
        self.status = "completed"
        self.frames_forwarded = 0
        self.frames_dropped = 0

    @property
    def is_filtered(self) -> bool:
        stop = self._assembler.stop
        return stop is not None and stop.reason == "content_filter"

    def body(self, raw: bytes) -> bytes:
        deltas = self._adapter.body(raw)
        for delta in deltas:
            self.tally.add_text(size_of(delta))
        for delta in deltas if self._gate is None else self._gate.take(deltas):
            self._assembler.take(delta)
        return b"" if self.is_waiting or self.is_blocked else self._whole()

    def _whole(self) -> bytes:
        """Write the whole answer as JSON."""
        if self._assembler.stop is None:
            raise UpstreamMalformed(
                f"The provider {self._provider!r} did not say how its answer ended."
            )
        *_, last = self._assembler.end(self.meter.usage, self._adapter.facts)
        assert isinstance(last, Ended)
        self._note_end(last)
        return self._encoder.final(last.response)

    def forward(self, frames: list[Frame]) -> bytes:
        pieces: list[bytes] = []
        adapter = self._adapter
        try:
            for frame in frames:
                if self.ended or self.is_blocked:
                    break
                deltas = adapter.deltas(frame)
                if deltas:
                    self.frames_forwarded += 1
                    self._take(deltas, pieces)
                if adapter.done and not (self.ended or self._is_over):
                    self._close(pieces)
        except UpstreamError as error:
            self.failure = error
        self.frames_dropped = adapter.dropped
        return b"".join(pieces)

    def finish(self) -> bytes:
        pieces: list[bytes] = []
        if not (self.ended or self._is_over) and self.failure is None:
            try:
                self._close(pieces)
            except UpstreamError as error:
                self.failure = error
        return b"".join(pieces)

    def announce(self) -> bytes:
        return self._encoder.announce(self._assembler.start().response)

    def keepalive(self) -> bytes:
        return self._encoder.keepalive()

    def failed(self, error: GatewayError) -> bytes:
        self.ended = True
        self.status = "failed"
        begun = b"" if self.has_output else self._begun()
        *closed, last = self._assembler.fail(error, self.meter.usage)
        assert isinstance(last, Ended)
        self._response = last.response
        return begun + self._encoder.failed(error, [*closed, last])

    def cut_short(self, usage: Usage, why: str) -> bytes:
        self._assembler.stop = Stop("length")
        begun = b"" if self.has_output else self._begun()
        *closed, last = self._assembler.end(usage, self._adapter.facts)
        assert isinstance(last, Ended)
        last.response["incomplete_details"]["message"] = why
        self._note_end(last)
        return begun + b"".join(map(self._encoder.encode, [*closed, last]))

    # Guarded

    @property
    def is_waiting(self) -> bool:
        """Return whether what is held needs a verdict before anything goes on."""
        return self._gate is not None and self._gate.is_waiting

    @property
    def is_blocked(self) -> bool:
        """Return whether the answer ends here, by the word of a guardrail."""
        return self._gate is not None and self._gate.is_blocked

    def tell(self) -> None:
        """Report what was found since the last time."""
        if self._gate is not None:
            self._gate.tell()

    async def judged(self) -> bytes:
        """Wait for the verdict, and write what may go on by it of a stream."""
        assert self._gate is not None
        pieces: list[bytes] = []
        deltas = await self._gate.verdict()
        try:
            self._pass(deltas, pieces)
            if self._is_over and not (self.ended or self.is_blocked or self.is_waiting):
                raise self._cut()
        except UpstreamError as error:
            self.failure = error
        return b"".join(pieces)

    async def judged_whole(self) -> bytes:
        """Wait for the verdict, and write the whole answer, unless it is blocked."""
        assert self._gate is not None
        for delta in await self._gate.verdict():
            self._assembler.take(delta)
        return b"" if self.is_blocked else self._whole()

    def end_blocked(self, usage: Usage, *, as_stream: bool) -> bytes:
        """End an answer that is blocked, with what was let go of it."""
        self._assembler.stop = Stop("content_filter")
        begun = self._begun() if as_stream and not self.has_output else b""
        *closed, last = self._assembler.end(usage, self._adapter.facts)
        assert isinstance(last, Ended)
        self._note_end(last)
        if not as_stream:
            return self._encoder.final(last.response)
        return begun + b"".join(map(self._encoder.encode, [*closed, last]))

    @property
    def service_tier(self) -> str | None:
        return self._adapter.facts.get("service_tier")

    @property
    def upstream_facts(self) -> Json:
        return self._adapter.facts

    @property
    def closing(self) -> bytes:
        return self._encoder.closing

    def answer(self) -> Json | None:
        return None if self._response is None else self._encoder.document(self._response)

    def closing_unstored(self) -> bytes:
        assert self._response is not None
        return self._encoder.closing_unstored(self._response)

    def tell_usage(self, charge: AnswerCharge) -> bytes:
        assert self._response is not None
        report = charge.report(self._response["usage"])
        self._response = {**self._response, "usage": report}
        return self._encoder.rewrite_end(self._response)

    def _take(self, deltas: list[Delta], pieces: list[bytes]) -> None:
        if self._gate is not None:
            self._take_guarded(self._gate, deltas, pieces)
            return
        assembler, encode = self._assembler, self._encoder.encode
        for delta in deltas:
            if size := size_of(delta):
                self.tally.add(size)
            for step in assembler.take(delta):
                if not self.has_output:
                    pieces.append(self._begun())
                pieces.append(encode(step))
        if assembler.stop is not None and not self.ended:
            self._end(pieces)

    def _take_guarded(self, gate: OutputGate, deltas: list[Delta], pieces: list[bytes]) -> None:
        """Take what the gate lets through. What it holds was generated, and nothing can be tried again."""
        for delta in deltas:
            if size := size_of(delta):
                self.tally.add(size)
        passed = gate.take(deltas)
        if gate.has_content and not self.has_output:
            pieces.append(self._begun())
        if not gate.is_blocked:
            self._pass(passed, pieces)

    def _pass(self, deltas: list[Delta], pieces: list[bytes]) -> None:
        assembler, encode = self._assembler, self._encoder.encode
        for delta in deltas:
            for step in assembler.take(delta):
                if not self.has_output:
                    pieces.append(self._begun())
                pieces.append(encode(step))
        if assembler.stop is not None and not self.ended:
            self._end(pieces)

    def _close(self, pieces: list[bytes]) -> None:
        """End the answer, now that the upstream's stream is over; without a Stop it has failed."""
        self._is_over = True
        self._take(self._adapter.finish(), pieces)
        if not (self.ended or self.is_waiting or self.is_blocked):
            raise self._cut()

    def _cut(self) -> UpstreamCut:
        return UpstreamCut(f"The provider {self._provider!r} ended the stream too early.")

    def _end(self, pieces: list[bytes]) -> None:
        if not self.has_output:
            pieces.append(self._begun())
        for step in self._assembler.end(self.meter.usage, self._adapter.facts):
            pieces.append(self._encoder.encode(step))
            if isinstance(step, Ended):
                self._note_end(step)

    def _begun(self) -> bytes:
        """Open the stream; from here on nothing else can be tried."""
        self.has_output = True
        return self._encoder.start(self._assembler.start().response)

    def _note_end(self, step: Ended) -> None:
        self.has_output = self.ended = True
        self.status = step.response["status"]
        self._response = step.response
