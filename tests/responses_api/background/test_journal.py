"""An exchange may be ended at any moment, also while its events are being written: none is lost."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from django.db import OperationalError

from gateway_project.lib.cache import StoreUnavailable
from responses_api.background import journal as journals
from responses_api.background.journal import Journal
from responses_api.background.runs import Finish, Owned
from responses_api.process.interruption import RunEnded
from responses_api.stream import events as response_events
from routing.protocols.shared.envelope import NOBODY

RESPONSE = {"id": "resp_1", "status": "failed", "output": []}


class RunWatcher:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def tell(self, tenant_id: int, response_id: str, state: Any) -> None:
        self.told.append(state)


class Writer:
    """Takes a few turns of the loop for each record; gives the `answers` in order, then True."""

    def __init__(self, *answers: Any, turns: int = 3) -> None:
        self.records: list[Any] = []
        self._answers = list(answers)
        self._turns = turns

    async def write(self, record: Any) -> Any:
        for _ in range(self._turns):
            await asyncio.sleep(0)
        answer = self._answers.pop(0) if self._answers else True
        if isinstance(answer, Exception):
            raise answer
        if answer:
            self.records.append(record)
        return answer


def journal(writer: Writer, **options: Any) -> Journal:
    run = Owned(1, "resp_1", "me")
    return Journal(
        cast("Any", writer), cast("Any", RunWatcher()), run, **{"stores_events": True, **options}
    )


def delta(number: int) -> bytes:
    """An event as an upstream that counts from anywhere may number it."""
    return response_events.event(b"response.output_text.delta", number, {"delta": "x"})


CLOSING = response_events.terminal(99, RESPONSE)


@pytest.mark.parametrize("turns", range(12))
async def test_whenever_a_write_is_interrupted_the_end_follows_on_it(turns):
    writer = Writer()
    book = journal(writer)

    async def write() -> None:
        for number in range(3):
            await book.append(book.number(delta(number) + delta(number)))

    task = asyncio.ensure_future(write())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    closing = await book.finish(RESPONSE, NOBODY, CLOSING)

    *appended, last = writer.records
    assert isinstance(last, Finish)
    ends = [-1, *(record.events.last for record in appended)]
    assert [record.events.first for record in appended] == [end + 1 for end in ends[:-1]]
    assert last.last_number == ends[-1]
    assert (closing.first, closing.last) == (ends[-1] + 1, ends[-1] + 1)
    assert b'"sequence_number":%d,' % closing.first in closing.events
    assert book.has_ended


async def test_nothing_is_written_once_the_run_is_somebody_elses():
    writer = Writer(True, False)
    book = journal(writer)
    await book.append(book.number(delta(0)))
    for _ in range(2):
        with pytest.raises(RunEnded):
            await book.append(book.number(delta(1)))
    with pytest.raises(RunEnded):
        await book.finish(RESPONSE, NOBODY, CLOSING)
    assert len(writer.records) == 1


async def test_a_database_that_is_away_is_waited_for_as_long_as_wanted(monkeypatch):
    monkeypatch.setattr(journals, "RETRY_SECONDS", 0)
    away = [OperationalError("gone")] * 3
    patient = journal(Writer(*away), patience_seconds=60)
    await patient.append(patient.number(delta(0)))

    hasty = journal(Writer(*away))
    with pytest.raises(StoreUnavailable):
        await hasty.append(hasty.number(delta(0)))
    assert hasty.has_ended


async def test_an_end_that_was_not_kept_leaves_its_number_to_another():
    book = journal(Writer(True, OperationalError("gone")))
    await book.append(book.number(delta(0)))
    with pytest.raises(StoreUnavailable):
        await book.finish(RESPONSE, NOBODY, CLOSING)
    assert book.number(CLOSING).last == 1


async def test_a_run_without_events_counts_none():
    writer = Writer()
    book = journal(writer, stores_events=False)
    await book.append(book.number(delta(0)))
    closing = await book.finish(RESPONSE, NOBODY, CLOSING)
    (end,) = writer.records
    assert (end.last_number, closing.events) == (-1, b"")
