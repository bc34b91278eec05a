"""A worker looks at the configuration's revision before it answers: the first look makes it forget."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from tenants.revision_watcher import RevisionWatcher
from tests.support.patience import GIVE_UP_SECONDS


class SlowDatabase:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.is_asked, self.may_answer = threading.Event(), threading.Event()

    def revision(self) -> int:
        self.is_asked.set()
        assert self.may_answer.wait(GIVE_UP_SECONDS)
        return 7


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDatabase]:
    slow = SlowDatabase()
    monkeypatch.setattr("tenants.revision_watcher.revision.current", slow.revision)
    yield slow
    slow.may_answer.set()


async def test_the_first_look_is_waited_for(database: SlowDatabase) -> None:
    changes: list[bool] = []
    watcher = RevisionWatcher(lambda: changes.append(True), poll_seconds=60, redis_url=None)
    watcher.start()
    waiting = asyncio.create_task(watcher.first_look(GIVE_UP_SECONDS))
    await asyncio.to_thread(database.is_asked.wait, GIVE_UP_SECONDS)
    assert not waiting.done()
    database.may_answer.set()
    await waiting
    assert (changes, watcher.is_current) == ([True], True)
    await watcher.stop()


async def test_a_database_that_does_not_answer_is_not_waited_for_for_ever(
    database: SlowDatabase,
) -> None:
    watcher = RevisionWatcher(lambda: None, poll_seconds=60, redis_url=None)
    watcher.start()
    await watcher.first_look(0.01)
    assert not watcher.is_current
    await watcher.stop()
