"""Name the reasons why a running exchange is ended from outside, and the errors its client gets."""

from __future__ import annotations

from enum import Enum

from gateway_project.lib.errors import (
    Draining,
    GatewayError,
    IdempotencyKeyLost,
    PermissionDenied,
    RequestStopped,
    Unavailable,
    UpstreamTimeout,
)


class RunEnded(Exception):
    """Somebody else ended the run that a worker was making: cancelled it, or took it for lost. Nothing
    more can be written to it."""


class Interruption(Enum):
    """A reason to end an exchange. Only `RUN_ENDED` ends it without a last event: another process wrote
    that."""

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
    GUARDRAIL = "guardrail"  # one that ran beside it; its own error says more

    @property
    def is_clients_doing(self) -> bool:
        """Return whether the client left, so that nobody is there to be told."""
        return self in {Interruption.CLIENT_GONE, Interruption.CLIENT_STALLED}

    def error(self) -> GatewayError:
        """Return the error that the client gets."""
        match self:
            case Interruption.DRAIN:
                return Draining()
            case Interruption.CANCELLED:
                return RequestStopped()
            case Interruption.REVOKED:
                return PermissionDenied("This API key is no longer valid.")
            case Interruption.CONNECTION_LIMIT:
                return Unavailable("The WebSocket reached its maximum lifetime.")
            case Interruption.KEY_LOST:
                return IdempotencyKeyLost()
            case Interruption.FIRST_BYTE:
                return UpstreamTimeout("The provider did not begin its answer in time.")
            case Interruption.IDLE:
                return UpstreamTimeout("The provider stopped in the middle of its answer.")
            case _:
                overlong = UpstreamTimeout("The provider took too long to answer.")
                overlong.is_total = True
                return overlong
