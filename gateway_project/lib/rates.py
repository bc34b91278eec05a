"""Parse rates as people write them: 60 requests/minute, 20 concurrency."""

from __future__ import annotations

import re
from typing import NamedTuple

WINDOW_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400}
_RATE = re.compile(r"(\d{1,15}) *(requests|tokens)/(minute|hour|day)\Z")
_CONCURRENCY = re.compile(r"(\d{1,15}) *concurrency\Z")


class RateError(ValueError):
    """The text is not a rate; the message quotes it and shows what is expected."""


class Rate(NamedTuple):
    """At most `amount` of `metric` per `window`, which is empty for calls at the same time (concurrency)."""

    metric: str
    amount: int
    window: str


def parse(text: str) -> tuple[Rate, ...]:
    """Parse a comma-separated list with at most one rate of each kind; `none` is empty. Raise RateError."""
    if text.strip() == "none":
        return ()
    found = tuple(_one(word.strip()) for word in text.split(",") if word.strip())
    if len({(rate.metric, rate.window) for rate in found}) < len(found):
        raise RateError(f"{text!r} names two limits of the same kind; keep one of them.")
    return found


def _one(text: str) -> Rate:
    if (match := _RATE.match(text)) and int(match[1]):
        return Rate(match[2], int(match[1]), match[3])
    if (match := _CONCURRENCY.match(text)) and int(match[1]):
        return Rate("concurrency", int(match[1]), "")
    raise RateError(
        f"{text!r} is not a limit; write it as '60 requests/minute', '9000 tokens/day' or '20 concurrency'."
    )
