"""The time, in one place, so that tests can fix it."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def timestamp() -> float:
    """Seconds since the epoch."""
    return time.time()


def now() -> datetime:
    """The present instant, aware, in UTC."""
    return datetime.fromtimestamp(timestamp(), UTC)


def monotonic() -> float:
    """Seconds on a clock that never goes back; only differences mean something."""
    return time.monotonic()
