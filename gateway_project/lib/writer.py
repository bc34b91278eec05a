"""Group-commit writer: records of many requests go into one transaction.

A caller waits until its record is committed. While a transaction runs the next records gather, so that
the busier a worker is, the less each record costs; nothing is ever delayed to fill a batch. One thread,
one connection; the event loop never touches the database.

Records are values of a few types. Each kind is written by a function that gets the cursor and all records
of that kind in the batch, and returns one result for each. A writer is given its kinds in order.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from django.db import Error, InterfaceError, OperationalError, connections
from django.db.backends.utils import CursorWrapper

from gateway_project.lib import clock
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.db import durable_transaction

logger = logging.getLogger("tollgate.writer")

MAX_BATCH = 512
RETRY_SECONDS = 1.0
# Of a transaction that waits for somebody else's lock, or for a server that does not answer.
STUCK_SECONDS = 2.0

WriteMany = Callable[[CursorWrapper, Sequence[Any]], Sequence[Any]]


class Kind(NamedTuple):
    """A group of record types that are written together, in order of arrival.

    `write_many` may run again after a failure, so it must be safe to repeat whether none or all of it was
    committed.
    """

    types: tuple[type, ...]
    write_many: WriteMany


class Pending:
    """A record, its place among the kinds, and who learns its result: a future or a callback."""

    __slots__ = ("error", "future", "place", "record", "result", "told")

    def __init__(
        self,
        record: Any,
        place: int,
        future: asyncio.Future[Any] | None,
        told: Callable[[Any], None] | None = None,
    ) -> None:
        self.record = record
        self.place = place
        self.future = future
        self.told = told
        self.result: Any = None
        self.error: Exception | None = None


class Writer:
    """The group-commit writer of one worker.

    `kinds` are in the order in which one transaction writes them, the same in every process: so the batches
    of two processes take their locks in the same order, and never wait for each other.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, kinds: tuple[Kind, ...]) -> None:
        self._loop = loop
        self._kinds = kinds
        self._places = {each: n for n, kind in enumerate(kinds) for each in kind.types}
        self._queue: queue.SimpleQueue[Pending | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._failed_at: float | None = None
        self._began_at: float | None = None  # of the transaction that is under way

    @property
    def is_failing(self) -> bool:
        """Tell whether writing is pointless now.

        After a while one attempt is let through, or nobody would notice that it works again.
        """
        failed_at, began_at, now = self._failed_at, self._began_at, clock.monotonic()
        is_stuck = began_at is not None and now - began_at > STUCK_SECONDS
        # While somebody tries again, nobody else has to.
        is_tried = failed_at is not None and began_at is not None
        return is_stuck or is_tried or (failed_at is not None and now - failed_at < RETRY_SECONDS)

    def try_again(self) -> None:
        """Forget an earlier failure: the next record is written at once."""
        self._failed_at = None

    async def write(self, record: Any) -> Any:
        """Return the record's result once it is committed. Raise StoreUnavailable or django.db.Error.

        A record whose caller is cancelled is written all the same.
        """
        place = self._places[type(record)]
        if self._thread is None:
            self._start()
        future = self._loop.create_future()
        self._queue.put(Pending(record, place, future))
        return await future

    def post(self, record: Any, told: Callable[[Any], None] | None = None) -> None:
        """Write a record that nobody waits for; callable from any thread.

        `told` is called in the writer's thread with the result once committed, or with None if it could
        not be written.
        """
        place = self._places[type(record)]
        if self._thread is None:
            self._start()
        self._queue.put(Pending(record, place, None, told))

    async def stop(self) -> None:
        """Write the waiting records, then end the thread."""
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="tollgate-writer", daemon=True)
                thread.start()
                self._thread = thread

    def _work(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                self._began_at = clock.monotonic()
                self._write_batch(batch)
                self._began_at = None
                _tell(batch)
                try:
                    self._loop.call_soon_threadsafe(_resolve, batch)
                except RuntimeError:
                    return  # the loop is closed: nobody waits any more
        finally:
            connections.close_all()

    def _next_batch(self) -> list[Pending] | None:
        """Return the records gathered so far, at least one; None at the end."""
        first = self._queue.get()
        if first is None:
            return None
        batch = [first]
        while len(batch) < MAX_BATCH:
            try:
                pending = self._queue.get_nowait()
            except queue.Empty:
                break
            if pending is None:
                self._queue.put(None)  # for the next round
                break
            batch.append(pending)
        return batch

    def _write_batch(self, batch: list[Pending]) -> None:
        try:
            _commit_again_if_dropped(batch, self._kinds)
            self._failed_at = None
        except (OperationalError, InterfaceError) as error:
            self._failed_at = clock.monotonic()
            connections.close_all()
            logger.error("the database is unavailable, nothing is stored: %s", type(error).__name__)
            for pending in batch:
                pending.error = StoreUnavailable(type(error).__name__)
        except Exception as error:  # noqa: BLE001  # a bad record must not end the thread or the others
            if not isinstance(error, Error):
                connections.close_all()  # wherever that came from, its transaction may be open still
            self._write_each(batch, error)

    def _write_each(self, batch: list[Pending], error: Exception) -> None:
        if len(batch) == 1:
            if not isinstance(error, Error):
                logger.exception("a record could not be written")
            batch[0].error = error
            return
        for pending in batch:
            self._write_batch([pending])


def _commit_again_if_dropped(batch: list[Pending], kinds: tuple[Kind, ...]) -> None:
    """Commit again on a fresh connection if the server dropped this one, which shows only on use.

    SQLite drops none: there a failure means that another process held the lock for as long as we waited.
    """
    try:
        commit(batch, kinds)
    except (OperationalError, InterfaceError):
        if connections["default"].vendor == "sqlite":
            raise
        connections.close_all()
        commit(batch, kinds)


def commit(batch: list[Pending], kinds: tuple[Kind, ...]) -> None:
    groups: dict[int, list[Pending]] = {}
    for pending in batch:
        groups.setdefault(pending.place, []).append(pending)
    with durable_transaction(), connections["default"].cursor() as cursor:
        for place, group in sorted(groups.items()):
            results = write_kind(kinds[place], cursor, [pending.record for pending in group])
            for pending, result in zip(group, results, strict=True):
                pending.result = result


def write_kind(kind: Kind, cursor: CursorWrapper, records: Sequence[Any]) -> Sequence[Any]:
    return kind.write_many(cursor, records)


def _tell(batch: list[Pending]) -> None:
    for pending in batch:
        if pending.told is not None:
            pending.told(pending.result if pending.error is None else None)


def _resolve(batch: list[Pending]) -> None:
    for pending in batch:
        if pending.future is None or pending.future.done():
            continue  # nobody waits, or its waiter was cancelled
        if pending.error is not None:
            pending.future.set_exception(pending.error)
        else:
            pending.future.set_result(pending.result)
