"""The writer's database as it is on bad days: it answers late, or not at all. One seam: how a type of record
is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from django.db import OperationalError

from gateway_project.lib import writer
from gateway_project.lib.writer import Kind, WriteMany
from gateway_project.serving.record_kinds import RECORD_KINDS
from tests.support.patience import GIVE_UP_SECONDS


@contextmanager
def unreachable(*kinds: type) -> Iterator[None]:
    """Records of these types cannot be written, as when the database is away."""

    def fail(cursor: Any, records: Any) -> Any:
        raise OperationalError("the connection was lost")

    with written_by(fail, *kinds):
        yield


@contextmanager
def written_by(write_many: WriteMany, *kinds: type) -> Iterator[None]:
    """Records of these types are written in another way."""
    usual = writer.write_kind

    def write_kind(kind: Kind, cursor: Any, records: Any) -> Any:
        if set(kind.types) & set(kinds):
            return write_many(cursor, records)
        return usual(kind, cursor, records)

    with mock.patch.object(writer, "write_kind", write_kind):
        yield


def kind_of(record_type: type) -> Kind:
    """Return the kind by which records of this type are written."""
    return next(kind for kind in RECORD_KINDS if record_type in kind.types)


class Held:
    """Records of one type wait in the writer until they are let go."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self._go_on = threading.Event()

    def let_go(self) -> None:
        self._go_on.set()

    def wait(self) -> None:
        self.arrived.set()
        assert self._go_on.wait(GIVE_UP_SECONDS), "nobody let the record go"


@contextmanager
def held(kind: type) -> Iterator[Held]:
    """Hold records of this type; they are let go at the latest when the block ends."""
    write_many, gate = kind_of(kind).write_many, Held()

    def late(cursor: Any, records: Any) -> Any:
        gate.wait()
        return write_many(cursor, records)

    with written_by(late, kind):
        try:
            yield gate
        finally:
            gate.let_go()
