"""Programs that a test run starts end with it, even if it is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

STARTER = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-m", "tests.support.tethered", sys.argv[1]], stdin=subprocess.PIPE)
time.sleep(3600)
"""
PROGRAM = """
import sys, time
print("up", sys.stdin.read(), flush=True)
time.sleep(3600)
"""


def test_a_program_ends_when_who_started_it_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-c", STARTER, str(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "up \n"
        starter.kill()
        assert starter.stdout.read() == ""  # nobody holds the other end any more
