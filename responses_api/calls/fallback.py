"""Decide, after an attempt failed, whether another may follow, and which lanes may make it."""

from __future__ import annotations

from gateway_project.lib.errors import (
    BudgetExhausted,
    GatewayError,
    UpstreamAuthFailed,
    UpstreamCut,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamQuotaExhausted,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from routing.protocols.shared.failures import CONTEXT_LENGTH
from routing.route import FallBack, ResolvedTarget

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 8.0
_GATEWAY_STATUSES = frozenset({502, 503, 529})
# After these another lane is asked once, not all of them: it may have been billed, or meet the same again.
ONE_STEP: frozenset[FallBack] = frozenset({"no_answer", "context_length", "content_policy"})


def kind_of(error: GatewayError) -> FallBack | None:
    """Return what kind of failure it is; None if no other lane may be tried, because the upstream may have
    run the call, or because the request itself is wrong."""
    match error:
        case UpstreamRejected() if error.told_code == CONTEXT_LENGTH:
            return "context_length"
        case UpstreamRejected() if error.is_about_content:
            return "content_policy"
        case UpstreamTimeout() | UpstreamCut() if error.never_began:
            return "no_answer"
        case UpstreamError() if not error.another_target_may_do:
            return None
        case UpstreamRateLimited():
            return "rate_limit"
        case UpstreamQuotaExhausted():
            return "quota"
        case UpstreamAuthFailed():
            return "auth"
        case UpstreamError():
            return "unavailable"
    return None


def is_unaffordable(error: GatewayError) -> bool:
    """Return whether the caller's budget does not pay for the lane; for a cheaper one it may."""
    return isinstance(error, BudgetExhausted)


def may_repeat(error: GatewayError) -> bool:
    """Return whether the same lane may be asked again: it was not reached, or says it is busy."""
    if isinstance(error, UpstreamUnreachable | UpstreamOverloaded):
        return True
    return isinstance(error, UpstreamError) and error.upstream_status in _GATEWAY_STATUSES


def pause_seconds(error: GatewayError, attempts: int, chance: float) -> float:
    """Return how long to wait before the same lane is asked again: as it says, or by chance up to twice as
    long each time (full jitter)."""
    if error.retry_after_seconds is not None:
        return error.retry_after_seconds
    most = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** max(attempts - 1, 0))
    return chance * most


def suits(kind: FallBack | None, failed: ResolvedTarget, lane: ResolvedTarget) -> bool:
    """Return whether the lane may do what the other refused for its size or its content. A window that
    nobody wrote down may be larger than any."""
    if kind == "context_length":
        return lane.context_window is None or lane.context_window > (failed.context_window or 0)
    if kind == "content_policy":
        return (lane.provider_id, lane.provider) != (failed.provider_id, failed.provider)
    return True
