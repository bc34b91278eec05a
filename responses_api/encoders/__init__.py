"""Doors' formats: each encoder renders the assembler's steps, and a finished Response, as bytes.

Nothing is decided here: what is rendered was decided by the assembler.
"""

from __future__ import annotations

from typing import Any, Protocol

from gateway_project.lib.errors import GatewayError
from responses_api.assembly.steps import Step

Json = dict[str, Any]


class Encoder(Protocol):
    """Writes one attempt's answer, as a stream of whole events (docs/wire.md 2.1) or as JSON.

    `closing` is how it ended: the terminal events, or the whole JSON answer.
    """

    closing: bytes

    def start(self, response: Json) -> bytes:
        """What opens the stream, without what an earlier attempt sent of it."""

    def announce(self, response: Json) -> bytes:
        """A first sign of life before there is any output."""

    def keepalive(self) -> bytes:
        """A sign of life that changes nothing."""

    def encode(self, step: Step) -> bytes:
        """The events of a step after the first, possibly none."""

    def failed(self, error: GatewayError, steps: list[Step]) -> bytes:
        """The end of a stream that failed; `steps` close what was open."""

    def final(self, response: Json) -> bytes:
        """The whole answer as JSON."""

    def document(self, response: Json) -> Json:
        """The finished object in the door's own shape, as it is kept."""

    def unkept(self, response: Json) -> bytes:
        """In place of `closing`: the same of an answer that could not be stored."""
