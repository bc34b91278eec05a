"""The writer's database as it is on bad days: it answers late, or not at all. One seam: how a type of record
is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from django.db import OperationalError

from responses_api.storage import writer


@contextmanager
def unreachable(*kinds: type) -> Iterator[None]:
    """Records of these types cannot be written, as when the database is away."""

    def fail(cursor: Any, records: Any) -> Any:
        raise OperationalError("the connection was lost")

    with mock.patch.dict(writer._WRITERS, dict.fromkeys(kinds, fail)):
        yield


class Held:
    """Records of one type wait in the writer until they are let go."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self._go_on = threading.Event()

    def let_go(self) -> None:
        self._go_on.set()

    def wait(self) -> None:
        self.arrived.set()
        assert self._go_on.wait(20), "nobody let the record go"


@contextmanager
def held(kind: type) -> Iterator[Held]:
    """Hold records of this type; they are let go at the latest when the block ends."""
    write_many, gate = writer._WRITERS[kind], Held()

    def late(cursor: Any, records: Any) -> Any:
        gate.wait()
        return write_many(cursor, records)

    with mock.patch.dict(writer._WRITERS, {kind: late}):
        try:
            yield gate
        finally:
            gate.let_go()
