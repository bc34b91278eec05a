"""The group-commit writer: many records, one transaction, and nobody pays for another's bad record."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from django.db import Error, OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from gateway_project.lib import writer as writers
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.writer import Kind, Writer
from gateway_project.serving.record_kinds import RECORD_KINDS
from responses_api.models import StoredResponse
from responses_api.storage.records import ResponseRecord, StoreSpec
from responses_api.storage.stores import write
from routing.protocols.shared.envelope import Maker
from tests.support import rows
from tests.support.patience import GIVE_UP_SECONDS

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


def write_blocked(cursor, records):
    for record in records:
        record.begun.set()
        assert record.released.wait(GIVE_UP_SECONDS)
    return [None] * len(records)


def write_failing(cursor, records):
    for record in records:
        record.times += 1
        raise record.error("no")


KINDS = (*RECORD_KINDS, Kind((Blocked,), write_blocked), Kind((Failing,), write_failing))


@pytest.fixture
async def writer() -> AsyncIterator[Writer]:
    found = Writer(asyncio.get_running_loop(), KINDS)
    yield found
    await found.stop()


@pytest.fixture
def tenant_id() -> int:
    return rows.customer("acme").tenant.pk


def record(tenant_id: int, number: int, **fields) -> ResponseRecord:
    said = {"type": "message", "id": f"msg_{number}", "role": "user", "content": []}
    store_spec = StoreSpec(tenant_id, "k", "m", 30, [said])
    response = {"id": f"resp_{number}", "status": "completed", "output": [], **fields}
    return ResponseRecord(store_spec, response, Maker("sandbox"))


async def test_what_gathers_while_a_transaction_runs_is_one_transaction(
    writer, tenant_id, monkeypatch
):
    batches = []
    commit = writers.commit

    def counted(batch, kinds):
        batches.append(len(batch))
        commit(batch, kinds)

    monkeypatch.setattr(writers, "commit", counted)
    first = Blocked()
    waiting = [asyncio.ensure_future(writer.write(first))]
    await asyncio.to_thread(first.begun.wait, 30)
    waiting += [asyncio.ensure_future(writer.write(record(tenant_id, n))) for n in range(50)]
    await asyncio.sleep(0)
    first.released.set()

    await asyncio.gather(*waiting)

    assert batches == [1, 50]
    assert await asyncio.to_thread(_count) == 50


async def test_whatever_comes_first_a_transaction_writes_kinds_in_the_order_they_were_given():
    """Locks are taken in that order, whichever module is imported first."""
    written: list[type] = []

    def noted(cursor, records):
        written.extend(map(type, records))
        return [None] * len(records)

    types = (str, int, bytes, float)
    blocked = Kind((Blocked,), write_blocked)
    for order in (types, types[::-1]):
        written.clear()
        kinds = (blocked, *(Kind((each,), noted) for each in order))
        writer = Writer(asyncio.get_running_loop(), kinds)
        first = Blocked()
        waiting = [asyncio.ensure_future(writer.write(first))]
        await asyncio.to_thread(first.begun.wait, 30)
        waiting += [asyncio.ensure_future(writer.write(each())) for each in types * 2]
        await asyncio.sleep(0)
        first.released.set()
        await asyncio.gather(*waiting)
        await writer.stop()
        assert written == [each for each in order for _ in range(2)]


def test_the_records_of_the_gateway_have_one_order():
    """Another order than that of the release before could make the two wait for each other."""
    names = [each.__qualname__ for kind in RECORD_KINDS for each in kind.types]
    assert names == [
        "ResponseRecord", "CompletionRecord", "Begin", "Append", "Finish", "RunRenewal", "KeyClaim",
        "KeyRenewal", "EndedCall", "Draw", "GiveBack", "EventRecord", "SealedAnswer",
    ]  # fmt: skip


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
