"""A command that goes on in the background."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.support.warm import ROOT

PROGRAM = """
import os, sys
from gateway_project.serving.detach import detach
caller = os.getpid()
tell_ready = detach()
print(os.getppid() != caller and os.getsid(0) != os.getsid(caller), flush=True)
if sys.argv[1] == "ready":
    tell_ready()
"""


@pytest.mark.parametrize(("what", "code"), [("ready", 0), ("not", 1)])
def test_its_caller_learns_whether_it_is_ready_and_is_not_its_parent(what: str, code: int) -> None:
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, what], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stdout, told.stderr) == (code, "True\n", "")


ABANDONED = """
import os, signal, sys
from tests.support.patience import until
from gateway_project.serving.detach import detach
caller = os.getpid()
tell_ready = detach()
os.kill(caller, signal.SIGKILL)
until(lambda: not os.path.exists(f"/proc/{caller}/fd/0"))
tell_ready()
print("serves", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_it_goes_on_though_its_caller_did_not_wait() -> None:
    told = subprocess.run(
        [sys.executable, "-c", ABANDONED], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stdout, told.stderr) == (-signal.SIGKILL, "serves\n", "")
