"""The time, in one place, so that tests can fix it."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def timestamp() -> float:
    """Return seconds since the epoch."""
    return time.time()


def now() -> datetime:
    """Return the present instant, aware, in UTC."""
    return datetime.fromtimestamp(timestamp(), UTC)


def monotonic() -> float:
    """Return seconds on a clock that never goes back; only differences are meaningful."""
    return time.monotonic()
