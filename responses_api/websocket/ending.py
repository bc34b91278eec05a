"""Why a connection ends although its client is there, and how."""

from __future__ import annotations

from dataclasses import dataclass

from gateway_project.lib.errors import ConnectionLimitReached, Draining, GatewayError
from responses_api.interruption import Interruption
from responses_api.websocket.handshake import POLICY
from responses_api.websocket.limits import SocketLimits

# Close codes, RFC 6455 7.4.1 and the IANA registry. On these two OpenAI's SDKs may connect again.
GOING_AWAY = 1001
RESTART = 1012


@dataclass(frozen=True, slots=True)
class Ending:
    """What runs may go on for `grace` seconds (None: as long as others let it), then `interruption` ends
    it; `is_told` with an error frame. Whoever asks for more meanwhile is answered with `error`."""

    error: GatewayError
    interruption: Interruption
    grace: float | None
    code: int
    is_told: bool = True


def drained() -> Ending:
    """Running responses are ended by the registry, in its time."""
    return Ending(Draining(), Interruption.DRAIN, None, RESTART, is_told=False)


def revoked(error: GatewayError) -> Ending:
    return Ending(error, Interruption.REVOKED, 0, POLICY)


def out_of_time(limits: SocketLimits) -> Ending:
    error = ConnectionLimitReached(limits.lifetime / 60)
    return Ending(error, Interruption.CONNECTION_LIMIT, limits.grace, GOING_AWAY)
