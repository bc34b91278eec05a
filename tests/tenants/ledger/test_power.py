"""Durability `power`: whoever waits is told when the disk has it, or that it has not."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from unittest import mock

import pytest

from tenants.ledger.records import read
from tenants.ledger.spool import Spool, SpoolFailed
from tests.tenants.ledger.conftest import log_of, opened

PATIENCE_SECONDS = 10.0


def test_files_rotate_while_others_wait_for_the_disk(spools: Path) -> None:
    spool = Spool(spools, mode="power", file_bytes=400)

    async def write() -> None:
        for _ in range(100):
            spool.append(opened())
            waiting = asyncio.ensure_future(spool.durable())
            await asyncio.sleep(0)
            spool.append(opened())
            await asyncio.wait_for(waiting, PATIENCE_SECONDS)

    asyncio.run(write())
    spool.close()
    files = sorted((spools / spool.name).glob("*.log"))
    assert len(files) > 10
    assert sum(len(list(read(path.read_bytes()))) for path in files) == 200


def test_a_rotation_during_a_sync_closes_no_file_under_it(spools: Path) -> None:
    spool = Spool(spools, mode="power", file_bytes=1)
    spool.append(opened())
    entered, go_on = threading.Event(), threading.Event()
    failures: list[OSError] = []
    sync = os.fdatasync

    def slow(file: int) -> None:
        entered.set()
        go_on.wait(PATIENCE_SECONDS)
        try:
            sync(file)
        except OSError as error:
            failures.append(error)
            raise

    async def write() -> None:
        waiting = asyncio.ensure_future(spool.durable())
        await asyncio.to_thread(entered.wait, PATIENCE_SECONDS)
        spool.append(opened())
        go_on.set()
        await asyncio.wait_for(waiting, PATIENCE_SECONDS)

    with mock.patch("os.fdatasync", slow):
        asyncio.run(write())
        spool.close()
    assert not failures
    assert log_of(spool, spools, 2).exists()


def test_a_disk_that_refuses_is_told_and_asked_again(spools: Path) -> None:
    spool = Spool(spools, mode="power")

    async def write() -> None:
        spool.append(opened())
        with (
            mock.patch("os.fdatasync", side_effect=OSError(5, "Input/output error")),
            pytest.raises(SpoolFailed, match="Input/output error"),
        ):
            await asyncio.wait_for(spool.durable(), PATIENCE_SECONDS)
        assert not spool.healthy
        with pytest.raises(SpoolFailed):  # a later sync knows nothing of what this one lost
            await asyncio.wait_for(spool.durable(), PATIENCE_SECONDS)
        spool.append(opened())
        await asyncio.wait_for(spool.durable(), PATIENCE_SECONDS)

    spool.check()
    asyncio.run(write())
    spool.close()


def test_without_it_nobody_waits(spools: Path) -> None:
    spool = Spool(spools)
    spool.append(opened())
    with mock.patch("os.fdatasync", side_effect=AssertionError):
        asyncio.run(spool.durable())
    spool.close()
