"""Compile the tests once, and not once in each process of a run.

pytest rewrites the assertions of a test file when it is imported, and keeps the bytecode. On a fresh clone
all processes of `-n` would do so with all files, at the same time and in the same order. Here each begins
with a part of its own, and finds most of the rest done by the others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from _pytest.assertion import rewrite

TESTS = Path(__file__).parent.parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if not worker or sys.dont_write_bytecode or not _takes_all(session.config):
        return
    files = sorted([*TESTS.rglob("test_*.py"), *TESTS.rglob("conftest.py")])
    number, count = int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    compile_tests(session.config, files[number::count])


def _takes_all(config: pytest.Config) -> bool:
    return [Path(config.rootpath, each) for each in config.args] == [TESTS]


def compile_tests(config: pytest.Config, files: Sequence[Path]) -> None:
    """Write the bytecode of those that have none, or an older one, where an import will look for it."""
    state = config.stash[rewrite.assertstate_key]
    for file in files:
        place = rewrite.get_cache_dir(file) / (file.stem + rewrite.PYC_TAIL)
        if place.exists() and place.stat().st_mtime > file.stat().st_mtime:
            continue
        try:
            status, code = rewrite._rewrite_test(file, config)
        except SyntaxError:  # as its import will say
            continue
        if rewrite.try_makedirs(place.parent):
            rewrite._write_pyc(state, code, status, place)
