"""The bench runs as `make bench` runs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.processes import ROOT


@pytest.mark.long
@pytest.mark.some_of("what measures")
def test_a_quick_bench_measures_both_cells_without_an_error() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--only", "streams"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("failed streams") == 2
