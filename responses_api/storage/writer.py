"""The group-commit writer: records of many requests go into one transaction.

Whoever writes waits until its record is committed. While a transaction runs the next records gather, so
that the busier a worker is the less each record costs; nothing is ever delayed to wait for company. One
thread, one connection; the event loop never touches the database.

Records are values of a few types. How a type is written is registered here as a function that gets the
cursor and all records of that type in the batch, and gives one result for each.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

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
_WRITERS: dict[type, WriteMany] = {}


def writes(*kinds: type) -> Callable[[WriteMany], WriteMany]:
    """Register how records of these types are written, together and in the order in which they came. It may
    be run again after a failure, so it must be safe to repeat when nothing of it was committed or all of it
    was."""

    def register(write_many: WriteMany) -> WriteMany:
        _WRITERS.update(dict.fromkeys(kinds, write_many))
        return write_many

    return register


class _Pending:
    """A record, and the future its writer waits on or who else is told of it."""

    __slots__ = ("error", "future", "record", "result", "told")

    def __init__(
        self,
        record: Any,
        future: asyncio.Future[Any] | None,
        told: Callable[[Any], None] | None = None,
    ) -> None:
        self.record = record
        self.future = future
        self.told = told
        self.result: Any = None
        self.error: Exception | None = None


class Writer:
    """One per worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._failed_at: float | None = None
        self._began_at: float | None = None  # of the transaction that is under way

    @property
    def is_failing(self) -> bool:
        """Whether it is no use to try now. After a while somebody has to, or nobody would notice that it
        works again."""
        failed_at, began_at, now = self._failed_at, self._began_at, clock.monotonic()
        is_stuck = began_at is not None and now - began_at > STUCK_SECONDS
        # While somebody tries again, nobody else has to.
        is_tried = failed_at is not None and began_at is not None
        return is_stuck or is_tried or (failed_at is not None and now - failed_at < RETRY_SECONDS)

    async def write(self, record: Any) -> Any:
        """The record's result once it is committed. Raises StoreUnavailable, django.db.Error.

        What is cancelled while it waits is written all the same.
        """
        if self._thread is None:
            self._start()
        future = self._loop.create_future()
        self._queue.put(_Pending(record, future))
        return await future

    def post(self, record: Any, told: Callable[[Any], None] | None = None) -> None:
        """Write a record that nobody waits for; from any thread. `told` is called in the writer's thread with
        its result once it is committed, or with None if it could not be written."""
        if self._thread is None:
            self._start()
        self._queue.put(_Pending(record, None, told))

    async def stop(self) -> None:
        """Write what is waiting, then end the thread."""
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

    def _next_batch(self) -> list[_Pending] | None:
        """What has gathered, at least one; None when there is no more to come."""
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

    def _write_batch(self, batch: list[_Pending]) -> None:
        try:
            _commit_again_if_dropped(batch)
            self._failed_at = None
        except (OperationalError, InterfaceError) as error:
            self._failed_at = clock.monotonic()
            connections.close_all()
            logger.error("nothing can be stored: %s", type(error).__name__)
            for pending in batch:
                pending.error = StoreUnavailable(type(error).__name__)
        except Exception as error:  # noqa: BLE001  # a bad record must not end the thread or the others
            if not isinstance(error, Error):
                connections.close_all()  # wherever that came from, its transaction may be open still
            self._write_each(batch, error)

    def _write_each(self, batch: list[_Pending], error: Exception) -> None:
        if len(batch) == 1:
            if not isinstance(error, Error):
                logger.exception("a record cannot be written")
            batch[0].error = error
            return
        for pending in batch:
            self._write_batch([pending])


def _commit_again_if_dropped(batch: list[_Pending]) -> None:
    """A connection that the server dropped is noticed when it is used; a fresh one may do. SQLite drops
    none: there a failure means that another process held the lock for as long as we waited."""
    try:
        _commit(batch)
    except (OperationalError, InterfaceError):
        if connections["default"].vendor == "sqlite":
            raise
        connections.close_all()
        _commit(batch)


def _commit(batch: list[_Pending]) -> None:
    groups: dict[WriteMany, list[_Pending]] = {}
    for pending in batch:
        groups.setdefault(_WRITERS[type(pending.record)], []).append(pending)
    with durable_transaction(), connections["default"].cursor() as cursor:
        # Always in the same order, so that the batches of two processes do not wait for each other.
        for write_many in sorted(groups, key=list(_WRITERS.values()).index):
            group = groups[write_many]
            results = write_many(cursor, [pending.record for pending in group])
            for pending, result in zip(group, results, strict=True):
                pending.result = result


def _tell(batch: list[_Pending]) -> None:
    for pending in batch:
        if pending.told is not None:
            pending.told(pending.result if pending.error is None else None)


def _resolve(batch: list[_Pending]) -> None:
    for pending in batch:
        if pending.future is None or pending.future.done():
            continue  # nobody waits, or its waiter was cancelled
        if pending.error is not None:
            pending.future.set_exception(pending.error)
        else:
            pending.future.set_result(pending.result)
