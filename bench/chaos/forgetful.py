"""Configure a gateway that loses data: the control, which shows that the comparison finds what is lost.

The spool of such a process gathers records in memory and writes them every fifth of a second, as many a
gateway does. Only the kill loop's `--control` names this module; nothing in the gateway knows of it.
"""

from __future__ import annotations

import threading
from typing import Any

from gateway_project.settings import *  # noqa: F403
from tenants.ledger.spool import Spool

FLUSH_SECONDS = 0.2

_append, _close = Spool.append, Spool.close


class _Memory:
    """The records of one spool that the kernel has not seen yet."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._records: list[Any] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        threading.Thread(target=self._work, daemon=True).start()

    def add(self, record: Any) -> None:
        with self._lock:
            self._records.append(record)

    def end(self) -> None:
        self._ended.set()
        self._flush()

    def _work(self) -> None:
        while not self._ended.wait(FLUSH_SECONDS):
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            for record in self._records:
                _append(self._spool, record)
            self._records.clear()


_memories: dict[int, _Memory] = {}


def _remember(self: Spool, record: Any) -> None:
    # The thread is begun with the first record, which no process writes before it was forked.
    if id(self) not in _memories:
        _memories[id(self)] = _Memory(self)
    _memories[id(self)].add(record)


def _forget(self: Spool) -> None:
    memory = _memories.pop(id(self), None)
    if memory is not None:
        memory.end()
    _close(self)


Spool.append = _remember  # type: ignore[method-assign, assignment]
Spool.close = _forget  # type: ignore[method-assign]
