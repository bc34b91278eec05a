"""The time, in one place, so that tests can fix it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

# Seconds since the epoch, and those of a clock that never goes back, of which only differences mean
# anything. They are not wrapped, because a call asks for one or the other two dozen times.
timestamp = time.time
monotonic = time.monotonic


def now() -> datetime:
    """Return the present instant, aware, in UTC."""
    return datetime.fromtimestamp(timestamp(), UTC)
