"""Spans of time as people write them: 45s, 90m, 24h, 30d."""

from __future__ import annotations

import re
from datetime import timedelta

_DURATION = re.compile(r"(\d{1,6})([smhd])\Z")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class DurationError(ValueError):
    """The text is not a duration; the message quotes it and shows what is expected."""


def parse(text: str) -> timedelta:
    """Parse a whole number followed by a unit. Raise DurationError."""
    match = _DURATION.match(text.strip())
    if match is None:
        raise DurationError(
            f"{text!r} is not a duration; write a whole number and a unit: 45s, 90m, 24h or 30d."
        )
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
