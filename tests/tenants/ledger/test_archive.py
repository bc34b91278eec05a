"""Files that were read are kept for as long as it says, and no longer."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from gateway_project.lib import clock
from tenants.ledger import archive, ingester
from tenants.ledger.ingest import ingest_all
from tenants.ledger.spool import Spool
from tests.tenants.ledger.conftest import write_call

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.persistence]


def archived(spools: Path, days_ago: int) -> Path:
    """The one file of a spool that ended and was booked."""
    spool = Spool(spools)
    write_call(spool)
    spool.close()
    ingest_all(spools)
    (path,) = (spools / archive.FOLDER / spool.name).iterdir()
    then = (clock.now() - timedelta(days=days_ago)).timestamp()
    os.utime(path, (then, then))
    return path


def test_files_go_when_they_have_been_kept_long_enough(spools: Path) -> None:
    old, young = archived(spools, 36), archived(spools, 34)
    assert archive.delete_before(spools, clock.now() - timedelta(days=35)) == 1
    assert young.exists()
    assert not old.parent.exists()
    assert archive.delete_before(spools, clock.now() - timedelta(days=35)) == 0


def test_an_ingester_tidies_up_by_itself(spools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = archived(spools, 3)
    loop = ingester.Loop(spools, archive_days=2)
    monkeypatch.setattr(loop._stop, "wait", lambda seconds: loop.stop())
    loop.run()
    assert not old.exists()
    kept = archived(spools, 1)
    ingester.Loop(spools, archive_days=2)._tidy()
    assert kept.exists()


def test_without_an_archive_there_is_nothing_to_delete(tmp_path: Path) -> None:
    assert archive.delete_before(tmp_path / "none", clock.now()) == 0
