"""The bench runs as `make bench` runs it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.processes import ROOT
from tests.support.databases import migrated_directory


@pytest.mark.long
def test_a_quick_bench_measures_both_cells_without_an_error(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    prepared = str(migrated_directory(tmp_path_factory))
    run = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--only", "streams"],
        cwd=ROOT,
        env={**os.environ, "BENCH_BEGIN": prepared},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("failed streams") == 2
