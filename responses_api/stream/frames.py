"""Do what all relays do with frames: hold them until the first output, count them, note a failure."""

from __future__ import annotations

from abc import ABC, abstractmethod

from gateway_project.lib.errors import UpstreamError
from gateway_project.lib.json import Json
from gateway_project.lib.sse import Frame
from responses_api.stream.tally import Tally
from responses_api.stream.upstream_reader import Identity
from routing.protocols.shared.usage import Meter
from routing.route import ResolvedTarget


class FrameRelay(ABC):
    """The part of `UpstreamReader` that does not depend on the protocol."""

    __slots__ = (
        "_held", "_identity", "_target", "closing", "ended", "failure", "frames_dropped", "frames_forwarded",
        "has_output", "is_filtered", "meter", "service_tier", "status", "tally", "upstream_facts",
    )  # fmt: skip

    def __init__(self, meter: Meter, target: ResolvedTarget, identity: Identity) -> None:
        self._target = target
        self._identity = identity
        self._held: list[bytes] = []
        self.meter = meter
        self.tally = Tally()
        self.service_tier: str | None = None
        self.upstream_facts: Json = {}
        self.closing = b""
        self.has_output = False
        self.ended = False
        self.is_filtered = False
        self.failure: UpstreamError | None = None
        self.status = "completed"
        self.frames_forwarded = 0
        self.frames_dropped = 0

    def forward(self, frames: list[Frame]) -> bytes:
        pieces: list[bytes] = []
        try:
            self._take_all(frames, pieces)
        except UpstreamError as error:
            self.failure = error
        if self.has_output:
            self.frames_forwarded += len(pieces)
            return self._release(pieces)
        self._held += pieces
        return b""

    def _take_all(self, frames: list[Frame], pieces: list[bytes]) -> None:
        for _, data in frames:
            if not self.ended:
                self._take(data, pieces)

    @abstractmethod
    def _take(self, data: bytes, pieces: list[bytes]) -> None:
        """Add what one event becomes to `pieces`. Raises the UpstreamError it reports."""

    def _release(self, pieces: list[bytes]) -> bytes:
        """Give what was held back, then `pieces`."""
        if self._held:
            pieces = self._held + pieces
            self._held = []
        return b"".join(pieces)
