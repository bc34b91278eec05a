"""Limits as response headers tell of them: OpenAI's names, and the IETF's draft (draft-10).

OpenAI has one limit of requests and one of tokens; where we have several, theirs are about the tightest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from tenants.limits.policy import CONCURRENCY, REQUESTS, TOKENS, Limit

Headers = dict[str, str]
Filled = tuple[Limit, float]

_UNITS = {TOKENS: ';qu="tokens"', CONCURRENCY: ';qu="concurrent-requests"'}


def of(limits: Sequence[Limit], levels: Sequence[float]) -> Headers:
    """`levels` are a Verdict's."""
    filled = tuple(zip(limits, levels, strict=True))
    headers: Headers = {}
    for metric in (REQUESTS, TOKENS):
        if of_metric := [pair for pair in filled if pair[0].metric == metric]:
            limit, level = min(of_metric, key=_slackness)
            headers[f"x-ratelimit-limit-{metric}"] = str(limit.amount)
            headers[f"x-ratelimit-remaining-{metric}"] = str(remaining(limit, level))
            headers[f"x-ratelimit-reset-{metric}"] = go_duration(level)
    headers["ratelimit-policy"] = _policies(limits)
    headers["ratelimit"] = ", ".join(_state(limit, level) for limit, level in filled)
    return headers


def remaining(limit: Limit, level: float) -> int:
    """What the bucket would let in at once. A hair's breadth below a whole one is a whole one."""
    if not limit.seconds:
        return max(limit.amount - int(level), 0)
    return max(math.floor((limit.seconds - level) / limit.interval + 1e-3), 0)


def go_duration(seconds: float) -> str:
    """As Go writes it and OpenAI sends it, up to the next millisecond: 9ms, 1.5s, 6m0s, 24h0m0s."""
    milliseconds = math.ceil(max(seconds, 0.0) * 1000 - 1e-6)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    shown = f"{rest / 1000:g}s"
    if not minutes:
        return shown
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{shown}" if hours else f"{minutes}m{shown}"


def _slackness(filled: Filled) -> tuple[int, float]:
    limit, level = filled
    return remaining(limit, level), -level


def _policies(limits: Iterable[Limit]) -> str:
    return ", ".join(
        f'"{limit.label}";q={limit.amount}'
        + (f";w={limit.seconds}" if limit.seconds else "")
        + _UNITS.get(limit.metric, "")
        for limit in limits
    )


def _state(limit: Limit, level: float) -> str:
    left = f'"{limit.label}";r={remaining(limit, level)}'
    return f"{left};t={math.ceil(level)}" if limit.seconds else left
