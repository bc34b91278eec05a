"""Settings of a gateway whose workers freeze on SIGUSR1, as by a request that never gives the loop back.

The supervisor is less patient than in earnest, so that a test need not wait.
"""

from __future__ import annotations

import os
import signal
import sys

from gateway_project.lib import heartbeat
from gateway_project.serving import watch
from gateway_project.settings import *  # noqa: F403

SECONDS = {
    "BEAT_SECONDS": 0.1,
    "LOOK_SECONDS": 0.2,
    "STUCK_SECONDS": float(os.environ.get("TEST_PATIENCE", "5")),
}
# A fork of a process that has imported everything has copies of them in the supervisor.
for module in (heartbeat, watch, sys.modules.get("gateway_project.serving.supervisor")):
    for name in SECONDS.keys() & vars(module).keys() if module else ():
        setattr(module, name, SECONDS[name])

_answer = watch.Watch.answer


def turn_for_ever(*_: object) -> None:
    while True:
        pass


def _answer_and_freeze(self: watch.Watch) -> None:
    signal.signal(signal.SIGUSR1, turn_for_ever)
    _answer(self)


watch.Watch.answer = _answer_and_freeze  # type: ignore[method-assign]
