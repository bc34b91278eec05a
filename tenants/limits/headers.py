"""Report limits as response headers: OpenAI's names, and the IETF's draft (draft-10).

OpenAI has one limit of requests and one of tokens; where we have several, its headers are about the
tightest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tenants.limits.policy import Limit, RateLimits

Headers = dict[str, str]


def of(limits: RateLimits, levels: Sequence[float]) -> Headers:
    """Return the headers; `levels` are a Verdict's."""
    tightest: dict[str, tuple[int, float, Limit]] = {}
    states = []
    for limit, level in zip(limits.all, levels, strict=True):
        left = remaining(limit, level)
        if not limit.seconds:
            states.append(f'"{limit.label}";r={left}')
            continue
        states.append(f'"{limit.label}";r={left};t={math.ceil(level)}')
        known = tightest.get(limit.metric)
        if known is None or (left, -level) < (known[0], -known[1]):
            tightest[limit.metric] = (left, level, limit)
    headers: Headers = {}
    for metric, (left, level, limit) in tightest.items():
        headers[f"x-ratelimit-limit-{metric}"] = str(limit.amount)
        headers[f"x-ratelimit-remaining-{metric}"] = str(left)
        headers[f"x-ratelimit-reset-{metric}"] = go_duration(level)
    headers["ratelimit-policy"] = limits.described
    headers["ratelimit"] = ", ".join(states)
    return headers


def remaining(limit: Limit, level: float) -> int:
    """Return what the bucket would let in at once; a hair's breadth below a whole one counts as whole."""
    if not limit.seconds:
        return max(limit.amount - int(level), 0)
    return max(math.floor((limit.seconds - level) / limit.interval + 1e-3), 0)


def go_duration(seconds: float) -> str:
    """Format a duration as Go does and OpenAI sends it, up to the next millisecond: 9ms, 1.5s, 6m0s,
    24h0m0s.
    """
    milliseconds = math.ceil(max(seconds, 0.0) * 1000 - 1e-6)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    shown = f"{rest / 1000:g}s"
    if not minutes:
        return shown
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{shown}" if hours else f"{minutes}m{shown}"
