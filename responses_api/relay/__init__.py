"""Same protocol on both sides: frames are forwarded, and only what the gateway owns is rewritten.

A relay is made for one attempt at one target. It knows no HTTP and no Django; bytes in, bytes out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from gateway_project.lib.errors import GatewayError, UpstreamError, UpstreamMalformed
from gateway_project.lib.sse import Frame
from responses_api.relay.tally import Tally
from routing.protocols.usage import Meter
from routing.route import Target
from tenants.token_classes import Usage


@dataclass(slots=True)
class Identity:
    """What the client sees of a call, the same through every attempt.

    `echo` are the fields of a Response that tell of the gateway's state, such as `store`.
    `announced` holds the opening events that were sent before an attempt succeeded; a later attempt
    must not repeat them.
    """

    id: str
    model: str
    created_at: int
    echo: dict[str, Any] = field(
        default_factory=lambda: {"previous_response_id": None, "store": False}
    )
    announced: set[bytes] = field(default_factory=set)


class Relay(Protocol):
    """One attempt's answer on its way to the client."""

    meter: Meter
    has_output: bool
    ended: bool
    status: str
    frames_forwarded: int
    frames_dropped: int
    tally: Tally
    failure: UpstreamError | None
    """What the upstream reported inside its stream; what came before it was forwarded."""

    @property
    def service_tier(self) -> str | None:
        """The tier the upstream says it served the call in."""

    @property
    def closing(self) -> bytes:
        """How what was forwarded ends: the terminal event, or the whole JSON answer."""

    def answer(self) -> dict[str, Any] | None:
        """The finished object, once the answer has ended; None where there is none to keep."""

    def unkept(self) -> bytes:
        """In place of `closing`: the same of an answer that could not be stored."""

    def body(self, raw: bytes) -> bytes:
        """A whole JSON answer, rewritten. Raises UpstreamError."""

    def forward(self, frames: list[Frame]) -> bytes:
        """What to send for these frames, possibly nothing. Until the first output it holds back."""

    def finish(self) -> bytes:
        """What to send when the upstream's stream ended. Raises UpstreamCut if it did not say so."""

    def announce(self) -> bytes:
        """What opens the stream before there is any output, so that the client sees a sign of life."""

    def keepalive(self) -> bytes:
        """A sign of life that changes nothing."""

    def failed(self, error: GatewayError) -> bytes:
        """The terminal event of a stream that failed."""

    def cut_short(self, usage: Usage, why: str) -> bytes:
        """The end of a stream that we end before the upstream does: incomplete, and `why` in words."""


def dumped(value: dict[str, Any], target: Target) -> bytes:
    """JSON of the upstream's, rewritten. Raises UpstreamMalformed where it is nested too deep to write,
    which for orjson begins long before it is too deep to read."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise UpstreamMalformed(
            f"The provider {target.provider!r} sent JSON that is nested too deep."
        ) from None
