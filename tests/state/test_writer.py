"""The group-commit writer: many records, one transaction, and nobody pays for another's bad record."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from django.db import Error, OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.lib.cache import StoreUnavailable
from responses_api.models import StoredResponse
from responses_api.storage import writer as writers
from responses_api.storage.keepers import write
from responses_api.storage.records import Keeping, ResponseRecord
from responses_api.storage.writer import Writer, writes
from tests.support import rows

pytestmark = [pytest.mark.persistence, pytest.mark.django_db(transaction=True)]


@dataclass
class Blocked:
    """Holds the writer's thread until it is released."""

    begun: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


@dataclass
class Failing:
    """Cannot be written; `times` is how often it was tried."""

    error: type[Exception]
    times: int = 0


@pytest.fixture(autouse=True)
def kinds(monkeypatch):
    monkeypatch.setattr(writers, "_WRITERS", dict(writers._WRITERS))

    @writes(Blocked)
    def write_blocked(cursor, records):
        for record in records:
            record.begun.set()
            assert record.released.wait(30)
        return [None] * len(records)

    @writes(Failing)
    def write_failing(cursor, records):
        for record in records:
            record.times += 1
            raise record.error("no")


@pytest.fixture
async def writer() -> AsyncIterator[Writer]:
    found = Writer(asyncio.get_running_loop())
    yield found
    await found.stop()


@pytest.fixture
def tenant_id() -> int:
    return rows.customer("acme").tenant.pk


def record(tenant_id: int, number: int, **fields) -> ResponseRecord:
    said = {"type": "message", "id": f"msg_{number}", "role": "user", "content": []}
    keeping = Keeping(tenant_id, "k", "m", 30, [said])
    response = {"id": f"resp_{number}", "status": "completed", "output": [], **fields}
    return ResponseRecord(keeping, response, "sandbox")


async def test_what_gathers_while_a_transaction_runs_is_one_transaction(
    writer, tenant_id, monkeypatch
):
    batches = []
    commit = writers._commit

    def counted(batch):
        batches.append(len(batch))
        commit(batch)

    monkeypatch.setattr(writers, "_commit", counted)
    first = Blocked()
    waiting = [asyncio.ensure_future(writer.write(first))]
    await asyncio.to_thread(first.begun.wait, 30)
    waiting += [asyncio.ensure_future(writer.write(record(tenant_id, n))) for n in range(50)]
    await asyncio.sleep(0)
    first.released.set()

    await asyncio.gather(*waiting)

    assert batches == [1, 50]
    assert await asyncio.to_thread(_count) == 50


async def test_a_bad_record_fails_alone(writer, tenant_id):
    first, bad = Blocked(), Failing(Error)
    begun = asyncio.ensure_future(writer.write(first))
    await asyncio.to_thread(first.begun.wait, 30)
    good = [asyncio.ensure_future(writer.write(record(tenant_id, n))) for n in range(3)]
    wrong = asyncio.ensure_future(writer.write(bad))
    await asyncio.sleep(0)
    first.released.set()

    await asyncio.gather(begun, *good)
    with pytest.raises(Error, match="no"):
        await wrong

    assert await asyncio.to_thread(_count) == 3
    assert not writer.is_failing


async def test_a_database_that_does_not_answer_is_named_after_a_dropped_connection_was_ruled_out(
    writer,
):
    away = Failing(OperationalError)

    with pytest.raises(StoreUnavailable):
        await write(writer, away)

    assert away.times == (1 if connection.vendor == "sqlite" else 2)
    assert writer.is_failing


async def test_who_comes_while_a_transaction_is_stuck_is_told_before_it_ends(writer, monkeypatch):
    monkeypatch.setattr(writers, "STUCK_SECONDS", 0.0)
    stuck = Blocked()
    begun = asyncio.ensure_future(writer.write(stuck))
    await asyncio.to_thread(stuck.begun.wait, 30)
    assert writer.is_failing
    stuck.released.set()
    await begun
    assert not writer.is_failing


async def test_it_works_again_once_the_database_answers(writer, tenant_id):
    with pytest.raises(StoreUnavailable):
        await write(writer, Failing(OperationalError))

    await write(writer, record(tenant_id, 1))

    assert not writer.is_failing


async def test_a_record_written_twice_is_there_once(writer, tenant_id):
    await write(writer, record(tenant_id, 1))
    await write(writer, record(tenant_id, 1))

    assert await asyncio.to_thread(_count) == 1


async def test_what_a_cancelled_caller_wrote_is_written_all_the_same(writer, tenant_id):
    first = Blocked()
    begun = asyncio.ensure_future(writer.write(first))
    await asyncio.to_thread(first.begun.wait, 30)
    left = asyncio.ensure_future(writer.write(record(tenant_id, 1)))
    await asyncio.sleep(0)
    left.cancel()
    first.released.set()

    await begun
    await writer.stop()

    assert await asyncio.to_thread(_count) == 1


def _count() -> int:
    try:
        return StoredResponse.objects.count()
    finally:
        connection.close()


async def test_what_goes_wrong_after_a_commit_leaves_no_transaction_open(
    writer, tenant_id, monkeypatch
):
    """Django ends a transaction by switching autocommit on: where that fails, none is committed any more."""
    switch = BaseDatabaseWrapper.set_autocommit

    def fail_once(self, autocommit, *arguments, **options):
        if autocommit and threading.current_thread().name == "tollgate-writer":
            monkeypatch.setattr(BaseDatabaseWrapper, "set_autocommit", switch)
            raise RuntimeError("not now")
        switch(self, autocommit, *arguments, **options)

    await write(writer, record(tenant_id, 1))
    monkeypatch.setattr(BaseDatabaseWrapper, "set_autocommit", fail_once)
    with pytest.raises(RuntimeError):
        await writer.write(record(tenant_id, 2))
    await write(writer, record(tenant_id, 3))
    assert await asyncio.to_thread(_count) == 3
