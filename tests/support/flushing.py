"""Emptying the tables between tests: quickly, and past triggers that refuse to let rows go.

Django's flush sends post_migrate, which looks up the content type and the permissions of every model again:
a third of a small test's time. Here those two tables are left as `migrate` filled them, so nothing needs to.

Only tables that hold rows are emptied, and only where a test has changed the schema is every trigger looked
at: SQLite counts such changes itself, PostgreSQL's catalogue tells of them. SQLite's connection heeds no
trigger meanwhile (`unguarded.py`): to take triggers out changes the schema, which lets every connection read
all of it again. On PostgreSQL a superuser's session heeds none; for any other user tables are truncated,
which makes some four hundred files anew. What a test left running may write meanwhile: where a deadlock comes
of that, it is tried again.

The connection stays open, since a new one reads the schema anew: with PostgreSQL that and the looks at
triggers took a tenth of a second of processor time after each test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

import psycopg
from django.core.management.commands import flush
from django.db import OperationalError, connection, transaction
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.backends.postgresql.operations import DatabaseOperations as PostgresOperations
from django.test import TransactionTestCase
from psycopg.errors import DeadlockDetected

from tenants import triggers
from tests.support import unguarded
from tests.support.patience import GIVE_UP_SECONDS

STATIC = frozenset({"django_content_type", "auth_permission"})
MOST_DEADLOCKS = 5


def flush_quickly() -> None:
    _leave_static(PostgresOperations)
    operations: Any = PostgresOperations
    operations.execute_sql_flush = _outlast_deadlocks(_with_patience(operations.execute_sql_flush))
    module: Any = flush
    module.emit_post_migrate_signal = _after_flush
    _empty_instead(TransactionTestCase)


def _empty_instead(test_case: Any) -> None:
    flush_all = test_case._fixture_teardown

    def tear_down(self: Any) -> None:
        if connection.vendor == "sqlite":
            empty()
        elif _is_superuser():
            _empty_postgres()
        else:
            flush_all(self)

    test_case._fixture_teardown = tear_down
    test_case._should_reload_connections = _is_to_be_opened_again


def _is_to_be_opened_again(_: Any) -> bool:
    return not connection.get_autocommit()


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables to be emptied, and what the database said of itself when all triggers were in place."""

    version: object
    tables: Sequence[str]


_schema: Schema | None = None


def empty() -> None:
    """Take all rows out of a database of SQLite, but those that `migrate` has put there."""
    global _schema  # noqa: PLW0603 - what is known of the database of this process
    if _schema is None or _schema.version != _schema_version():
        triggers.install()
        _schema = Schema(_schema_version(), _tables())
    if unguarded.is_possible():
        with unguarded.heeding_no_trigger(connection.connection):
            _delete(_schema.tables)
    else:
        triggers.remove()
        _delete(_schema.tables)
        triggers.install()
        _schema = replace(_schema, version=_schema_version())


def _schema_version() -> int:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA schema_version")
        return int(cursor.fetchone()[0])


def _tables() -> list[str]:
    found = connection.introspection.django_table_names(only_existing=True, include_views=False)
    return sorted(set(found) - STATIC)


@transaction.atomic
def _delete(tables: Sequence[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_question(tables))
        held = _that_hold_rows(tables, cursor.fetchone())
        for name in held:
            cursor.execute(f'DELETE FROM "{name}"')


def _question(tables: Sequence[str]) -> str:
    return "SELECT " + ", ".join(f'EXISTS (SELECT 1 FROM "{name}")' for name in tables)


def _that_hold_rows(tables: Sequence[str], answer: Sequence[bool]) -> list[str]:
    return [name for name, holds in zip(tables, answer, strict=True) if holds]


# On PostgreSQL


class _Emptying:
    """A connection of its own that heeds no trigger, and knows how to find the tables that hold rows: that
    takes twenty times as long to plan as to do, and all plans of a connection go when it is told to heed
    triggers or not."""

    def __init__(self, tables: Sequence[str]) -> None:
        self._tables = tables
        self._connection = psycopg.connect(**connection.get_connection_params())
        with self._connection.transaction():
            self._connection.execute(f"SET lock_timeout = '{GIVE_UP_SECONDS}s'")
            self._connection.execute("SET session_replication_role = replica")
            self._connection.execute(f"PREPARE held AS {_question(tables)}")

    def delete(self) -> None:
        names = ", ".join(f'"{name}"' for name in self._tables)
        with self._connection.transaction():
            # As TRUNCATE does: what is being written is waited for, and goes as well.
            self._connection.execute(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE")
            answer: Any = self._connection.execute("EXECUTE held").fetchone()
            if held := _that_hold_rows(self._tables, answer):
                self._connection.execute("; ".join(f'DELETE FROM "{name}"' for name in held))

    def close(self) -> None:
        self._connection.close()


_emptying: _Emptying | None = None


def _empty_postgres() -> None:
    """Take all rows out, then put in place what a test has taken out of the schema: keys are only made again
    as they were where no row is against them."""
    global _schema, _emptying  # noqa: PLW0603 - what is known of the database of this process
    version = _catalogue()
    is_changed = _schema is None or _schema.version != version
    if _emptying is None or is_changed:
        close()
        _emptying = _Emptying(_tables())
    _outlast_deadlocks(_emptying.delete)()
    if is_changed:
        triggers.install()
        _schema = Schema(_catalogue(), ())


def close() -> None:
    """Close what is kept open to empty the tables."""
    global _emptying  # noqa: PLW0603 - as above
    if _emptying is not None:
        _emptying.close()
        _emptying = None


def _catalogue() -> object:
    """Return what changes with every table, key, trigger and function of ours."""
    state = "sum(hashtext(oid::text || ' ' || xmin::text))"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT (SELECT {state} FROM pg_trigger), (SELECT {state} FROM pg_constraint), "
            f"(SELECT {state} FROM pg_proc WHERE proname >= 'tollgate' AND proname < 'tollgatf')"
        )
        return cursor.fetchone()


def _is_superuser() -> bool:
    connection.ensure_connection()
    raw: Any = connection.connection
    return bool(raw.info.parameter_status("is_superuser") == "on")


# For other users of PostgreSQL


def _leave_static(operations: type[BaseDatabaseOperations]) -> None:
    flush_sql: Any = operations.sql_flush

    def sql_flush(self: Any, style: Any, tables: Sequence[str], **options: Any) -> list[str]:
        kept = [name for name in tables if name not in STATIC]
        return list(flush_sql(self, style, kept, **options))

    setattr(operations, "sql_flush", sql_flush)  # noqa: B010 - a method, to the type checker


def _with_patience(execute: Any) -> Callable[[Any, Sequence[str]], None]:
    def execute_sql_flush(self: Any, statements: Sequence[str]) -> None:
        execute(self, [f"SET LOCAL lock_timeout = '{GIVE_UP_SECONDS}s'", *statements])

    return execute_sql_flush


def _outlast_deadlocks(work: Callable[..., None]) -> Callable[..., None]:
    @wraps(work)
    def tried_again(*arguments: Any) -> None:
        for _ in range(MOST_DEADLOCKS):
            try:
                return work(*arguments)
            except (OperationalError, DeadlockDetected) as error:
                if not isinstance(error.__cause__ or error, DeadlockDetected):
                    raise
        return work(*arguments)

    return tried_again


def _after_flush(verbosity: int, interactive: bool, db: str, **_: Any) -> None:
    triggers.install(db)
