"""A background worker whose event loop is stuck says where, and ends."""

from __future__ import annotations

from pathlib import Path

from gateway_project.serving.loop_thread import STUCK_CODE
from tests.processes.served import environment
from tests.support import warm
from tests.support.patience import GIVE_UP_SECONDS

PROGRAM = """
import time
from gateway_project.lib import heartbeat, renewals
from gateway_project.serving import loop_thread
renewals.RENEW_SECONDS = 0.05
here = loop_thread.LoopThread()
def turn_for_ever():
    heartbeat.STUCK_SECONDS = 0.5  # only now: on a busy machine, starting takes longer
    while True:
        pass
here._loop.call_soon_threadsafe(turn_for_ever)
time.sleep(600)
"""


def test_a_background_worker_that_is_stuck_ends_and_says_where(tmp_path: Path) -> None:
    program = ["manage.py", "shell", "--no-imports", "-v", "0", "-c", PROGRAM]
    ended = warm.run(program, environment(tmp_path), GIVE_UP_SECONDS)
    assert ended.returncode == STUCK_CODE, ended.stderr
    assert "in turn_for_ever" in ended.stderr
