"""Everything that is shipped has a licence that allows it; nothing that is locked is younger than a week."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.deploy.files import DEPLOY, ROOT
from tests.plugins.cases import cases
from tests.test_lock_files import LOCKS

LICENCES = (ROOT / "docs" / "licences.md").read_text()


def licences(*lock: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, DEPLOY / "licences", *lock], capture_output=True, text=True, check=False
    )


def test_the_list_of_licences_is_up_to_date():
    made = licences()

    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout == LICENCES


def test_every_package_that_is_shipped_has_a_row():
    pinned = re.findall(r"(?m)^([a-z0-9-]+)==", LOCKS["base"].read_text())

    assert pinned
    assert [name for name in pinned if f"\n| {name} | " not in LICENCES] == []


def test_a_package_nobody_has_read_the_licence_of_is_refused(tmp_path: Path):
    lock = tmp_path / "other.lock"
    lock.write_text("celery==5.7.0 \\\nnobody-knows-it==1.0 \\\n")

    refused = licences(lock)

    assert (refused.returncode, refused.stdout) == (1, "")
    assert (
        refused.stderr
        == "nobody-knows-it is not installed: read its licence, and add it to READ.\n"
    )


@cases("name", LOCKS)
def test_nothing_that_is_locked_was_younger_than_a_week(name: str):
    """`make lock` says up to which moment it took releases."""
    [until] = re.findall(r"(?m)^#    make lock \(nothing after (\S+)\)$", LOCKS[name].read_text())

    assert datetime.fromisoformat(until) <= datetime.now(UTC) - timedelta(days=7)
