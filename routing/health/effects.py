"""Say what an error tells of the lane it came from.

A client's fault tells nothing: a storm of bad requests changes nothing for anybody. Neither does a refusal
that a client can provoke at will, unless calls of several callers meet it (`callers.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from gateway_project.lib.errors import (
    GatewayError,
    UpstreamAuthFailed,
    UpstreamCut,
    UpstreamError,
    UpstreamForbiddenAddress,
    UpstreamMalformed,
    UpstreamModelMissing,
    UpstreamOverloaded,
    UpstreamQuotaExhausted,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from routing.health.scopes import ScopeKind

LEAST_RETRY_AFTER_SECONDS = 1.0
MOST_RETRY_AFTER_SECONDS = 600.0
RATE_LIMIT_SECONDS, MOST_RATE_LIMIT_SECONDS = 5.0, 60.0
ACCOUNT_SECONDS, MOST_ACCOUNT_SECONDS = 60.0, 3600.0
MISSING_MODEL_SECONDS = 600.0


class Effect(Struct, frozen=True):
    """Say what an event does to the circuit of one scope.

    hold_seconds  leave it alone for so long; 0: it is a failure. With `most_seconds`, twice as long each
                  time in a row, up to that
    is_costly     no other lane may answer the call, which may have been billed
    is_suspect    the call itself may be what the provider chokes on
    """

    scope: ScopeKind
    reason: str
    hold_seconds: float = 0.0
    most_seconds: float = 0.0
    is_costly: bool = False
    is_suspect: bool = False


NO_SAMPLE: tuple[Effect, ...] = ()


def effects_of(error: GatewayError | None) -> tuple[Effect, ...]:
    """Return what the error does to circuits; nothing for one that tells nothing of the lane."""
    if not isinstance(error, UpstreamError) or error.is_ours:
        return NO_SAMPLE
    return _READERS.get(type(error), _failed)(error)


def _unreachable(error: UpstreamError) -> tuple[Effect, ...]:
    return (Effect("provider", error.code),)


def _rejected(error: UpstreamError) -> tuple[Effect, ...]:
    return NO_SAMPLE


def _quota(error: UpstreamError) -> tuple[Effect, ...]:
    if isinstance(error, UpstreamQuotaExhausted) and error.is_about_call:
        return NO_SAMPLE
    return (_account(error),)


def _failed(error: UpstreamError) -> tuple[Effect, ...]:
    if error.upstream_status == 408:
        return NO_SAMPLE
    return (Effect("model", error.code, is_suspect=error.upstream_status in {0, 500}),)


def _timeout(error: UpstreamError) -> tuple[Effect, ...]:
    is_total = isinstance(error, UpstreamTimeout) and error.is_total
    return NO_SAMPLE if is_total else _costly(error)


def _costly(error: UpstreamError) -> tuple[Effect, ...]:
    if 300 <= error.upstream_status < 500:
        return NO_SAMPLE  # a status that no protocol has, in answer to this request
    return (Effect("model", error.code, is_costly=True),)


def _refused(error: UpstreamError) -> tuple[Effect, ...]:
    """Return the effect of 401, 403 and 404. A filter in front of a provider answers some prompts with 403,
    and what a request refers to can be missing as well as the model: those count as failures, which take
    several callers."""
    if not error.upstream_status:
        return NO_SAMPLE  # it was never asked
    if isinstance(error, UpstreamModelMissing) and error.is_about_model:
        return (Effect("credential_model", error.code, MISSING_MODEL_SECONDS),)
    if isinstance(error, UpstreamAuthFailed) and error.upstream_status != 403:
        return (_account(error),)
    return (Effect("credential_model", error.code),)


def _account(error: GatewayError) -> Effect:
    return Effect("credential", error.code, ACCOUNT_SECONDS, MOST_ACCOUNT_SECONDS)


def _rate_limited(error: UpstreamError) -> tuple[Effect, ...]:
    if isinstance(error, UpstreamRateLimited) and error.is_about_call:
        return NO_SAMPLE
    asked = _asked(error)
    if asked is not None:
        return (Effect("credential_model", error.code, asked),)
    return (Effect("credential_model", error.code, RATE_LIMIT_SECONDS, MOST_RATE_LIMIT_SECONDS),)


def _overloaded(error: UpstreamError) -> tuple[Effect, ...]:
    failure, asked = Effect("model", error.code), _asked(error)
    return (failure,) if asked is None else (failure, Effect("model", error.code, asked))


def _asked(error: GatewayError) -> float | None:
    """Return for how long the provider asked to be left alone, within reason."""
    seconds = error.retry_after_seconds
    if seconds is None:
        return None
    return min(max(seconds, LEAST_RETRY_AFTER_SECONDS), MOST_RETRY_AFTER_SECONDS)


_READERS: dict[type[UpstreamError], Callable[[UpstreamError], tuple[Effect, ...]]] = {
    UpstreamUnreachable: _unreachable,
    UpstreamForbiddenAddress: _unreachable,
    UpstreamAuthFailed: _refused,
    UpstreamModelMissing: _refused,
    UpstreamRejected: _rejected,
    UpstreamRateLimited: _rate_limited,
    UpstreamQuotaExhausted: _quota,
    UpstreamOverloaded: _overloaded,
    UpstreamMalformed: _costly,
    UpstreamCut: _costly,
    UpstreamTimeout: _timeout,
}
