"""Let each test begin at one moment, to see whether a test minds when it runs.

`TOLLGATE_TEST_MOMENT=2026-11-30T23:59:59.7Z` lets the product's clock show that when a test begins, so that a
month, a day, an hour and a minute end while it runs. Processes that tests start keep the machine's time.
"""

from __future__ import annotations

import os
import time
from datetime import datetime

import pytest

from gateway_project.lib import clock

MOMENT = os.environ.get("TOLLGATE_TEST_MOMENT", "")
_ahead = 0.0


def _timestamp() -> float:
    return time.time() + _ahead


if MOMENT:
    _then = datetime.fromisoformat(MOMENT).timestamp()
    clock.timestamp = _timestamp

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(item: pytest.Item) -> None:
        global _ahead  # noqa: PLW0603 - the clock of the whole process
        _ahead = _then - time.time()
