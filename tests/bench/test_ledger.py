"""The proof of a large ledger runs from end to end; `make proof` runs it at its full size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.processes import ROOT
from tests.support.databases import migrated_template

pytestmark = [pytest.mark.postgres, pytest.mark.long]

ROWS = int(os.environ.get("TOLLGATE_PROOF_ROWS", "8_000"))


@pytest.mark.some_of("what measures")
def test_the_books_of_a_divided_ledger_are_those_of_one_table(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    variables = {**os.environ, "TOLLGATE_DATA_DIR": str(tmp_path)}
    sizes = ["--rows", str(ROWS), "--batches", "20", "--months", "3"]
    like = migrated_template(tmp_path_factory)
    arguments = [sys.executable, "-m", "bench.ledger", *sizes, "--like", like]
    done = subprocess.run(
        arguments, cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    plain, monthly = figures["one table"], figures["by month"]
    assert plain["the books differ"] == monthly["the books differ"] == []
    assert plain["hours"] == monthly["hours"] > 0
    gone = [kind["retention of a month"]["rows"] for kind in (plain, monthly)]
    assert gone[0] == gone[1] > 0
    assert figures["conversion"]["rows"] > ROWS * 0.9
