"""A background worker whose event loop is stuck says where, and ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gateway_project.serving.loop_thread import STUCK_CODE
from tests.processes.served import environment
from tests.support.warm import ROOT

PROGRAM = """
import time
import django
django.setup()
from gateway_project.lib import heartbeat, renewals
from gateway_project.serving import loop_thread
renewals.RENEW_SECONDS = 0.05
here = loop_thread.LoopThread()
def turn_for_ever():
    heartbeat.STUCK_SECONDS = 0.5  # only now: on a busy machine, starting takes longer
    while True:
        pass
here._loop.call_soon_threadsafe(turn_for_ever)
time.sleep(60)
"""


def test_a_background_worker_that_is_stuck_ends_and_says_where(tmp_path: Path) -> None:
    variables = environment(tmp_path, DJANGO_SETTINGS_MODULE="gateway_project.settings")
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert ended.returncode == STUCK_CODE, ended.stderr
    assert "in turn_for_ever" in ended.stderr
