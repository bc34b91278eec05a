"""Read what providers say of their limits, and count what is known of an account's, to spare it in time.

A lane with little left is tight: it stands behind its siblings, and is never left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from routing.route import ProviderLimits

# Less than this part of a limit is little.
LITTLE = 0.05
UNKNOWN_RESET_SECONDS = 60.0
MOST_RESET_SECONDS = 600.0
MINUTE = 60.0
LOOK_EVERY = 16
_OPENAI = b"x-ratelimit-"
_ANTHROPIC = b"anthropic-ratelimit-"
_PREFIXES = (_OPENAI, _ANTHROPIC)
# What is left of a limit, the limit, and when it is whole again.
_NAMES = (
    *(
        tuple(f"x-ratelimit-{what}-{kind}" for what in ("remaining", "limit", "reset"))
        for kind in ("requests", "tokens")
    ),
    *(
        tuple(f"anthropic-ratelimit-{kind}-{what}" for what in ("remaining", "limit", "reset"))
        for kind in ("requests", "tokens", "input-tokens", "output-tokens")
    ),
)
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_PLAIN = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_SECONDS_OF = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_MOST_TEXT = 40


class UpstreamLimits:
    """Keep what one account has left for one model. `tight_until` is when it is said to have more again. Of a
    provider that has not said anything so far, one answer in sixteen is looked at."""

    __slots__ = ("_says", "_unread", "tight_until")

    def __init__(self) -> None:
        self.tight_until = 0.0
        self._says = False
        self._unread = 0

    def read(self, headers: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """Read the headers of an answer, of which few providers send any of these."""
        if not self._says and self._unread:
            self._unread -= 1
            return
        told = {name: value for name, value in headers if name.startswith(_PREFIXES)}
        self._says = bool(told)
        if not told:
            self._unread = LOOK_EVERY - 1
        else:
            text = {name.decode("latin-1"): value.decode("latin-1") for name, value in told.items()}
            self.tight_until = _tight_until(text, now)


def _tight_until(told: dict[str, str], now: float) -> float:
    """Return when the last of the limits with little left is reset; 0 if there is none."""
    return max(
        (
            now + reset_seconds(told.get(reset, ""), now)
            for remaining, limit, reset in _NAMES
            if _is_little(told, remaining, limit)
        ),
        default=0.0,
    )


def _is_little(told: dict[str, str], remaining: str, limit: str) -> bool:
    left, most = _number(told.get(remaining, "")), _number(told.get(limit, ""))
    if left is None:
        return False
    return left <= 0 or (most is not None and left < LITTLE * most)


def _number(text: str) -> float | None:
    return float(text) if _PLAIN.fullmatch(text[:_MOST_TEXT]) else None


def reset_seconds(text: str, now: float) -> float:
    """Read the time until a reset: `6m0s`, `20ms`, a number of seconds, or an instant (RFC 3339)."""
    return min(max(_reset_seconds(text[:_MOST_TEXT].strip(), now), 0.0), MOST_RESET_SECONDS)


def _reset_seconds(text: str, now: float) -> float:
    if (seconds := _number(text)) is not None:
        return seconds - now if seconds > now / 2 else seconds  # some give the instant
    if spans := _SPAN.findall(text.lower()):
        return sum(float(amount) * _SECONDS_OF[unit] for amount, unit in spans)
    try:
        return datetime.fromisoformat(text).timestamp() - now
    except (ValueError, OverflowError, OSError):
        return UNKNOWN_RESET_SECONDS


class AccountUse:
    """Count how much of the limits that an operator gave for an account this process has used: a bucket that
    drains at the limit's rate (GCRA). It counts its own calls only."""

    __slots__ = ("_requests_until", "_tokens_until", "in_flight")

    def __init__(self) -> None:
        self.in_flight = 0
        self._requests_until = 0.0
        self._tokens_until = 0.0

    def take(self, limits: ProviderLimits, now: float) -> None:
        """Count a call that is about to be sent."""
        if limits.requests_per_minute:
            step = MINUTE / limits.requests_per_minute
            self._requests_until = max(self._requests_until, now) + step

    def add_tokens(self, limits: ProviderLimits, tokens: int, now: float) -> None:
        """Count the tokens of a call that has ended."""
        if limits.tokens_per_minute:
            step = tokens * MINUTE / limits.tokens_per_minute
            self._tokens_until = max(self._tokens_until, now) + step

    def is_full(self, limits: ProviderLimits, now: float) -> bool:
        """Return whether another call would exceed a limit."""
        if limits.concurrency is not None and self.in_flight >= limits.concurrency:
            return True
        return (
            bool(limits.requests_per_minute)
            and self._requests_until > now + MINUTE - MINUTE / (limits.requests_per_minute or 1)
        ) or (bool(limits.tokens_per_minute) and self._tokens_until >= now + MINUTE)
