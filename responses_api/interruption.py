"""Why a running exchange is ended from outside, and what its client is told."""

from __future__ import annotations

from enum import Enum

from gateway_project.lib.errors import (
    Draining,
    GatewayError,
    IdempotencyKeyLost,
    PermissionDenied,
    Unavailable,
    UpstreamTimeout,
)


class RunEnded(Exception):
    """What a worker was making was ended by somebody else: cancelled, or taken for lost. Nothing more can
    be written of it."""


class Interruption(Enum):
    """`RUN_ENDED` alone ends an exchange without a word: the last one was said by another."""

    CLIENT_GONE = "client_gone"
    CLIENT_STALLED = "client_stalled"
    FIRST_BYTE = "first_byte"
    IDLE = "idle"
    TOTAL = "total"
    DRAIN = "drain"
    CANCELLED = "cancelled"
    RUN_ENDED = "run_ended"
    REVOKED = "revoked"
    CONNECTION_LIMIT = "connection_limit"
    KEY_LOST = "idempotency_key_lost"

    @property
    def is_clients_doing(self) -> bool:
        """Nobody is left to tell."""
        return self in {Interruption.CLIENT_GONE, Interruption.CLIENT_STALLED}

    def error(self) -> GatewayError:
        """What the client is told."""
        match self:
            case Interruption.DRAIN:
                return Draining()
            case Interruption.CANCELLED:
                return Unavailable("The request was cancelled by an operator of the gateway.")
            case Interruption.REVOKED:
                return PermissionDenied("This API key may not be used any more.")
            case Interruption.CONNECTION_LIMIT:
                return Unavailable("The WebSocket was open for as long as it may be.")
            case Interruption.KEY_LOST:
                return IdempotencyKeyLost()
            case Interruption.FIRST_BYTE:
                return UpstreamTimeout("The provider did not begin to answer in time.")
            case Interruption.IDLE:
                return UpstreamTimeout("The provider stopped in the middle of its answer.")
            case _:
                return UpstreamTimeout("The provider took too long to answer.")
