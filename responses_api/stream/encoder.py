"""Define what renders the assembler's steps, and a finished Response, as a door's bytes.

Nothing is decided here: what is rendered was decided by the assembler.
"""

from __future__ import annotations

from typing import Protocol

from gateway_project.lib.errors import GatewayError
from gateway_project.lib.json import Json
from responses_api.stream.steps import Step


class Encoder(Protocol):
    """Write one attempt's answer, as a stream of whole events (docs/wire.md 2.1) or as JSON.

    `closing` is how it ended: the terminal events, or the whole JSON answer.
    """

    closing: bytes

    def start(self, response: Json) -> bytes:
        """Open the stream, without what an earlier attempt sent of it."""

    def announce(self, response: Json) -> bytes:
        """Write a first sign of life before there is any output."""

    def keepalive(self) -> bytes:
        """Write a sign of life that changes nothing."""

    def encode(self, step: Step) -> bytes:
        """Write the events of a step after the first, possibly none."""

    def failed(self, error: GatewayError, steps: list[Step]) -> bytes:
        """End a stream that failed; `steps` close what was open."""

    def final(self, response: Json) -> bytes:
        """Write the whole answer as JSON."""

    def document(self, response: Json) -> Json:
        """Make the finished object in the door's own shape, as it is stored."""

    def closing_unstored(self, response: Json) -> bytes:
        """Write `closing` anew, of an answer that could not be stored."""

    def rewrite_end(self, response: Json) -> bytes:
        """Write `closing` anew, of an answer that ended well and whose `usage` is another now."""
