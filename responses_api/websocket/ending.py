"""Say why a connection ends although its client is there, and how."""

from __future__ import annotations

from dataclasses import dataclass

from gateway_project.lib.errors import ConnectionLimitReached, Draining, GatewayError
from responses_api.process.interruption import Interruption
from responses_api.process.socket_limits import SocketLimits
from responses_api.websocket.handshake import POLICY

# Close codes, RFC 6455 7.4.1 and the IANA registry. On these two OpenAI's SDKs may connect again.
GOING_AWAY = 1001
RESTART = 1012


@dataclass(frozen=True, slots=True)
class SocketEnding:
    """A reason to close a connection. Running responses may go on for `grace` seconds (None: as long as
    others let them), then `interruption` ends them; with `is_told`, an error frame says so. Further
    requests are answered with `error`."""

    error: GatewayError
    interruption: Interruption
    grace: float | None
    code: int
    is_told: bool = True


def drained() -> SocketEnding:
    """Return the ending of a drain: the registry ends running responses, in its time."""
    return SocketEnding(Draining(), Interruption.DRAIN, None, RESTART, is_told=False)


def revoked(error: GatewayError) -> SocketEnding:
    return SocketEnding(error, Interruption.REVOKED, 0, POLICY)


def out_of_time(limits: SocketLimits) -> SocketEnding:
    error = ConnectionLimitReached(limits.lifetime / 60)
    return SocketEnding(error, Interruption.CONNECTION_LIMIT, limits.grace, GOING_AWAY)
