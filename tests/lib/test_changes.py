"""A change of an SQLite database is noticed without asking it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from gateway_project.lib import clock
from gateway_project.lib.changes import Changes, Writes
from tests.support.patience import until

NEVER = 1e9


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """The default database, as a file in WAL mode that this process has open."""
    file = tmp_path / "some.sqlite3"
    with sqlite3.connect(file, isolation_level=None) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE numbers (number)")
        monkeypatch.setitem(settings.DATABASES["default"], "NAME", str(file))
        monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.sqlite3")
        yield connection
    connection.close()


def asked(since: Changes) -> Changes:
    since.seen(since.stamp())
    return since


def test_a_commit_of_another_connection_is_a_change_and_a_look_is_none(
    database: sqlite3.Connection, tmp_path: Path
) -> None:
    since = Changes(most_seconds=NEVER)
    assert since.are_possible
    assert not asked(since).are_possible
    database.execute("SELECT count(*) FROM numbers").fetchone()
    assert not since.are_possible
    with sqlite3.connect(tmp_path / "some.sqlite3", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO numbers VALUES (1)")
        assert not since.are_possible
        other.execute("ROLLBACK")
        assert not since.are_possible
        for number in range(3):
            other.execute("INSERT INTO numbers VALUES (?)", (number,))
            assert since.are_possible
            assert not asked(since).are_possible
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.execute("INSERT INTO numbers VALUES (7)")
        assert since.are_possible
    other.close()


def test_what_was_committed_after_the_stamp_is_a_change(database: sqlite3.Connection) -> None:
    since = Changes(most_seconds=NEVER)
    stamp = since.stamp()
    database.execute("INSERT INTO numbers VALUES (1)")
    since.seen(stamp)
    assert since.are_possible


def test_a_database_behind_a_link_is_looked_at_where_it_is(
    database: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file was moved and replaced by a link, beside which a stale index was left."""
    index = (tmp_path / "some.sqlite3-shm").read_bytes()
    moved = tmp_path / "link.sqlite3"
    moved.symlink_to(tmp_path / "some.sqlite3")
    (tmp_path / "link.sqlite3-shm").write_bytes(index)
    monkeypatch.setitem(settings.DATABASES["default"], "NAME", str(moved))
    since = asked(Changes(most_seconds=NEVER))
    assert not since.are_possible
    database.execute("INSERT INTO numbers VALUES (1)")
    assert since.are_possible


def test_an_index_that_was_made_anew_is_a_change(
    database: sqlite3.Connection, tmp_path: Path
) -> None:
    since = asked(Changes(most_seconds=NEVER))
    database.execute("PRAGMA journal_mode=DELETE")
    assert since.are_possible
    assert asked(since).are_possible  # without an index nothing is known
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("INSERT INTO numbers VALUES (1)")
    assert since.are_possible
    assert not asked(since).are_possible
    database.execute("INSERT INTO numbers VALUES (1)")
    assert since.are_possible


def test_whoever_asked_long_ago_or_without_an_answer_asks_again(
    database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = asked(Changes(most_seconds=10))
    assert not since.are_possible
    began = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: began + 11)
    assert since.are_possible
    since.seen(None)
    monkeypatch.undo()
    assert since.are_possible


def test_of_another_database_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.postgresql")
    assert asked(Changes(most_seconds=NEVER)).are_possible


@pytest.mark.persistence
@pytest.mark.django_db(transaction=True)
def test_a_write_to_postgresql_is_told_by_one_query() -> None:
    writes = Writes(most_seconds=NEVER)
    assert writes.are_possible()
    if connection.vendor != "postgresql":
        assert writes.are_possible()
        return
    other = connection.copy()
    try:
        until(lambda: not writes.are_possible())  # the server may clean up by itself meanwhile
        other.ensure_connection()
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id()")  # as a write gives it one
        until(lambda: not writes.are_possible())
        other.commit()
        assert writes.are_possible()  # only now there is something to see
        until(lambda: not writes.are_possible())
        writes.forget()
        assert writes.are_possible()
    finally:
        other.close()


@pytest.mark.persistence
@pytest.mark.django_db
def test_postgresql_is_looked_at_after_a_while_though_nothing_was_written() -> None:
    writes = Writes(most_seconds=0.0)
    assert writes.are_possible()
    assert writes.are_possible()
