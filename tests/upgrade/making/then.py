"""Settings of a gateway whose clock shows another time, and whose host has a name that is nobody's.

Found by its bare name, with this folder in PYTHONPATH, so that it serves an older checkout as well: it uses
only what was in the gateway from the start.
"""

from __future__ import annotations

import os
import socket
import time

from gateway_project.lib import clock

AHEAD_SECONDS = float(os.environ["THEN_AHEAD_SECONDS"])
HOST = "gateway-1"


def timestamp() -> float:
    return time.time() + AHEAD_SECONDS


clock.timestamp = timestamp
socket.gethostname = lambda: HOST

from gateway_project.settings import *  # noqa: E402, F403 - the clock comes first
