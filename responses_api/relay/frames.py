"""What both relays do with frames: hold them until the first output, count them, note a failure."""

from __future__ import annotations

from abc import ABC, abstractmethod

from gateway_project.lib.errors import UpstreamError
from gateway_project.lib.sse import Frame
from responses_api.relay import Identity
from responses_api.relay.tally import Tally
from routing.protocols.usage import Meter
from routing.route import Target


class FrameRelay(ABC):
    """The part of `Relay` that does not depend on the protocol."""

    __slots__ = (
        "_held", "_identity", "_target", "closing", "ended", "failure", "frames_dropped", "frames_forwarded",
        "has_output", "meter", "service_tier", "status", "tally",
    )  # fmt: skip

    def __init__(self, protocol: str, target: Target, identity: Identity) -> None:
        self._target = target
        self._identity = identity
        self._held: list[bytes] = []
        self.meter = Meter(protocol)
        self.tally = Tally()
        self.service_tier: str | None = None
        self.closing = b""
        self.has_output = False
        self.ended = False
        self.failure: UpstreamError | None = None
        self.status = "completed"
        self.frames_forwarded = 0
        self.frames_dropped = 0

    def forward(self, frames: list[Frame]) -> bytes:
        pieces: list[bytes] = []
        try:
            for _, data in frames:
                if not self.ended:
                    self._take(data, pieces)
        except UpstreamError as error:
            self.failure = error
        if self.has_output:
            self.frames_forwarded += len(pieces)
            return self._released(pieces)
        self._held += pieces
        return b""

    @abstractmethod
    def _take(self, data: bytes, pieces: list[bytes]) -> None:
        """Add what one event becomes to `pieces`. Raises the UpstreamError it reports."""

    def _released(self, pieces: list[bytes]) -> bytes:
        """What was held back, then `pieces`."""
        if self._held:
            pieces = self._held + pieces
            self._held = []
        return b"".join(pieces)
