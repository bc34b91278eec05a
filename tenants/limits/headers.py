"""Report limits as response headers: OpenAI's names, and the IETF's draft (draft-10).

OpenAI has one limit of requests and one of tokens; where we have several, its headers are about the
tightest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from tenants.limits.policy import Limit, RateLimits

Headers = dict[str, str]


@cache
def _names(metric: str) -> tuple[str, str, str]:
    """Return OpenAI's names of the headers about a metric, of which there are two."""
    begin = "x-ratelimit"
    return f"{begin}-limit-{metric}", f"{begin}-remaining-{metric}", f"{begin}-reset-{metric}"


def of(limits: RateLimits, levels: Sequence[float]) -> Headers:
    """Return the headers; `levels` are a Verdict's."""
    headers: Headers = {}
    tightest: dict[str, tuple[int, float, Limit]] = {}
    states = []
    for limit, level in zip(limits.all, levels, strict=True):
        left = remaining(limit, level)
        if not limit.seconds:
            states.append(f"{limit.label};r={left}")
            continue
        states.append(f"{limit.label};r={left};t={math.ceil(level)}")
        known = tightest.get(limit.metric)
        if known is None or (left, -level) < (known[0], -known[1]):
            tightest[limit.metric] = (left, level, limit)
    for metric, (left, level, limit) in tightest.items():
        most, rest, reset = _names(metric)
        headers[most], headers[rest] = str(limit.amount), str(left)
        headers[reset] = go_duration(level)
    headers["ratelimit-policy"] = limits.described
    headers["ratelimit"] = ", ".join(states)
    return headers


def remaining(limit: Limit, level: float) -> int:
    """Return what the bucket would let in at once; a hair's breadth below a whole one counts as whole."""
    if not limit.seconds:
        left = limit.amount - int(level)
    else:
        left = int((limit.seconds - level) / limit.interval + 1e-3)
    return left if left > 0 else 0


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
