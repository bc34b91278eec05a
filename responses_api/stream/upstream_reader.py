"""Define what reads an upstream's answer and writes the client's: a relay where both speak alike, a
translation elsewhere.

A reader is made for one attempt at one target. It knows no HTTP and no Django; bytes in, bytes out.
"""

from __future__ import annotations

from typing import Any, Protocol

import orjson
from msgspec import Struct, field

from gateway_project.lib.errors import GatewayError, UpstreamError, UpstreamMalformed
from gateway_project.lib.sse import Frame
from responses_api.stream.answer_charge import AnswerCharge
from responses_api.stream.tally import Tally
from routing.protocols.shared.usage import Meter
from routing.route import ResolvedTarget
from tenants.token_classes import Usage


class Identity(Struct):
    """The fields of a call that its client sees, the same through every attempt.

    `echo` are the fields of a Response that tell of the gateway's state, such as `store`. `announced` holds
    the opening events that were sent before an attempt succeeded; a later attempt must not repeat them.
    """

    id: str
    model: str
    created_at: int
    echo: dict[str, Any] = field(
        default_factory=lambda: {"previous_response_id": None, "store": False}
    )
    announced: set[bytes] = field(default_factory=set)


class UpstreamReader(Protocol):
    """Lead one attempt's answer to the client."""

    meter: Meter
    has_output: bool
    ended: bool
    status: str
    frames_forwarded: int
    frames_dropped: int
    tally: Tally

    @property
    def is_filtered(self) -> bool:
        """Return whether the upstream's own filter ended the answer."""

    failure: UpstreamError | None
    """The error that the upstream reported inside its stream; everything before it was forwarded."""

    @property
    def service_tier(self) -> str | None:
        """Return the tier in which the upstream says it served the call."""

    @property
    def upstream_facts(self) -> dict[str, Any]:
        """Return what the upstream said of its answer, by the names of routing/protocols/shared/said.py."""

    @property
    def closing(self) -> bytes:
        """Return how what was forwarded ends: the terminal event, or the whole JSON answer."""

    def answer(self) -> dict[str, Any] | None:
        """Return the finished object, once the answer has ended; None if there is none to store."""

    def closing_unstored(self) -> bytes:
        """Write `closing` anew, of an answer that could not be stored."""

    def tell_usage(self, charge: AnswerCharge) -> bytes:
        """Write `closing`, and the object to store, anew: their `usage` tells what the client pays for."""

    def body(self, raw: bytes) -> bytes:
        """Read a whole JSON answer, and write the client's. Raises UpstreamError."""

    def forward(self, frames: list[Frame]) -> bytes:
        """Write what to send for these frames, possibly nothing: until the first output it holds back."""

    def finish(self) -> bytes:
        """Write what to send when the upstream's stream ended. Raises UpstreamCut if it did not say so."""

    def announce(self) -> bytes:
        """Open the stream before there is any output, so that the client sees a sign of life."""

    def keepalive(self) -> bytes:
        """Write a sign of life that changes nothing."""

    def failed(self, error: GatewayError) -> bytes:
        """Write the terminal event of a stream that failed."""

    def cut_short(self, usage: Usage, why: str) -> bytes:
        """End a stream before the upstream does: incomplete, and `why` in words."""


def dump_json(value: dict[str, Any], target: ResolvedTarget) -> bytes:
    """Write JSON of the upstream's that was changed. Raises UpstreamMalformed where it is nested too deep to
    write, which for orjson begins long before it is too deep to read."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise UpstreamMalformed(
            f"The provider {target.provider!r} sent JSON that is nested too deeply."
        ) from None
