"""Define what processes tell one another about circuits."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from routing.health.circuit import OpenedBy

MOST_SECONDS = 3600.0
MOST_OPENINGS = 100
MOST_REASON = 100


class CircuitMessage(Struct, frozen=True, omit_defaults=True):
    """Hold what a process found out about the circuit `scope`.

    open    it is open for `seconds` from now on; `openings` in a row, by what, and why
    close   it works again, or an operator says so
    fail    a call of this tenant's key failed while it was closed
    answer  a call was answered, which ends a run of failures
    """

    kind: Literal["open", "close", "fail", "answer"]
    scope: str
    worker: str = ""
    seconds: float = 0.0
    openings: int = 0
    opened_by: OpenedBy = ""
    reason: str = ""
    tenant_id: int = 0
    key_id: int = 0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(CircuitMessage)


def encode(message: CircuitMessage) -> bytes:
    return _encoder.encode(message)


def decode(data: bytes) -> CircuitMessage | None:
    """Read a message; None for one that is none, as another version may send."""
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError:
        return None
