"""CI's script ends what it has started, and tells of everything that failed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes.served import is_running
from tests.support.patience import GIVE_UP_SECONDS, until
from tests.support.warm import ROOT

# What it looks for; make is below.
PROGRAMS = ["git", "chromium", "nginx", "caddy", "systemd-analyze", "prometheus"]
MAKE = """#!/bin/sh
shift
echo "$1" >> "$NOTES/asked"
case $1 in
    services) mkdir -p var; echo REDIS_URL=redis://nowhere/0 > var/services.env ;;
    services-stop | install | -j3) ;;
    *) {does} ;;
esac
"""
HANG = 'sleep 1000 & echo $! >> "$NOTES/children"; echo $$ >> "$NOTES/children"; wait'


@contextmanager
def running(home: Path, does: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run the script on a tree in which `make` does this for whatever is to be proved."""
    for folder in ("tree/.ci", "tree/.venv/bin", "programs", "notes"):
        (home / folder).mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", home / "tree" / ".ci" / "run")
    scripts = {f"programs/{name}": "#!/bin/sh\n" for name in PROGRAMS}
    scripts |= {"programs/make": MAKE.replace("{does}", does)}
    scripts |= {"tree/.venv/bin/python": "#!/bin/sh\n"}  # migrates for the kill loops
    for name, content in scripts.items():
        (home / name).write_text(content)
        (home / name).chmod(0o755)
    path = f"{home / 'programs'}:{os.environ['PATH']}"
    notes = home / "notes"
    with subprocess.Popen(
        ["bash", home / "tree" / ".ci" / "run"],
        env={"PATH": path, "HOME": str(home), "TMPDIR": str(home), "NOTES": str(notes)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as script:
        yield script, notes


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def test_a_run_that_is_interrupted_leaves_no_process(tmp_path: Path) -> None:
    with running(tmp_path, HANG) as (script, notes):
        until(lambda: len(lines(notes / "children")) == 4)  # of both lanes
        children = [int(pid) for pid in lines(notes / "children")]
        script.terminate()
        assert script.wait(GIVE_UP_SECONDS) == 128 + signal.SIGTERM
    assert [pid for pid in children if is_running(pid)] == []
    assert lines(notes / "asked")[-1] == "services-stop"
    assert list(tmp_path.glob("tmp.*")) == []


def test_a_run_goes_on_after_what_failed_and_names_it(tmp_path: Path) -> None:
    fails = 'case $1 in check | e2e) exit 1 ;; esac; echo "done: $1"'
    with running(tmp_path, fails) as (script, notes):
        told, _ = script.communicate(timeout=GIVE_UP_SECONDS)
    assert script.returncode == 1, told
    last = told.strip().splitlines()[-1]
    assert last.endswith(": check,the console in a browser =="), told
    assert {"test-sqlite", "test-persistence", "chaos"} <= {*lines(notes / "asked")}
    assert "s of processor time: tests on SQLite" in told


def test_a_run_in_which_nothing_fails_is_green(tmp_path: Path) -> None:
    with running(tmp_path, "true") as (script, _):
        told, _ = script.communicate(timeout=GIVE_UP_SECONDS)
    assert script.returncode == 0, told
    assert "== done after" in told
