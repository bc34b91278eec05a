"""Emptying the tables between tests: quickly, and past triggers that refuse to let rows go.

Django's flush sends post_migrate, which looks up the content type and the permissions of every model again:
a third of a small test's time. Here those two tables are left as `migrate` filled them, so nothing needs to.

On SQLite only tables that hold rows are emptied, by a connection that heeds no trigger meanwhile
(`unguarded.py`): to take triggers out would change the schema, which lets every connection read all of it
again. Whether a test has changed it the file's own count tells, and only then every trigger is looked at.
The connection stays open, for the same reason.

On PostgreSQL a superuser's session heeds no trigger. For any other user tables are truncated, which makes
some four hundred files anew. What a test left running may write meanwhile: where a deadlock comes of that,
the flush is tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    _empty_past_triggers(PostgresOperations)
    _outlast_deadlocks(PostgresOperations)
    module: Any = flush
    module.emit_post_migrate_signal = _after_flush
    _empty_sqlite(TransactionTestCase)


def _empty_sqlite(test_case: Any) -> None:
    flush_all = test_case._fixture_teardown

    def tear_down(self: Any) -> None:
        if connection.vendor == "sqlite":
            empty()
        else:
            flush_all(self)

    test_case._fixture_teardown = tear_down
    test_case._should_reload_connections = _is_to_be_opened_again


def _is_to_be_opened_again(_: Any) -> bool:
    return connection.vendor != "sqlite" or not connection.get_autocommit()


def empty() -> None:
    """Take all rows out of a database of SQLite, but those that `migrate` has put there."""
    global _schema  # noqa: PLW0603 - what is known of the database of this process
    if _schema is None or _schema.version != _schema_version():
        triggers.install()
        _schema = Schema(_schema_version(), _tables())
    with unguarded.heeding_no_trigger(connection.connection):
        _delete(_schema.tables)


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables to be emptied, and what SQLite counted when all their triggers were in place."""

    version: int
    tables: Sequence[str]


_schema: Schema | None = None


def _schema_version() -> int:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA schema_version")
        return int(cursor.fetchone()[0])


def _tables() -> list[str]:
    found = connection.introspection.django_table_names(only_existing=True, include_views=False)
    return sorted(set(found) - STATIC)


@transaction.atomic
def _delete(tables: Sequence[str]) -> None:
    held = _that_hold_rows(tables)
    with connection.cursor() as cursor:
        for name in held:
            cursor.execute(f'DELETE FROM "{name}"')


def _leave_static(operations: type[BaseDatabaseOperations]) -> None:
    flush_sql: Any = operations.sql_flush

    def sql_flush(self: Any, style: Any, tables: Sequence[str], **options: Any) -> list[str]:
        kept = [name for name in tables if name not in STATIC]
        return list(flush_sql(self, style, kept, **options))

    setattr(operations, "sql_flush", sql_flush)  # noqa: B010 - a method, to the type checker


def _empty_past_triggers(operations: Any) -> None:
    truncate_sql = operations.sql_flush

    def sql_flush(self: Any, style: Any, tables: Sequence[str], **options: Any) -> list[str]:
        emptied = [f'"{name}"' for name in tables if name not in STATIC]
        if not emptied or options.get("reset_sequences") or not _is_superuser(self.connection):
            return list(truncate_sql(self, style, tables, **options))
        return [
            "SET LOCAL session_replication_role = replica",
            # As TRUNCATE does: what is being written is waited for, and goes as well.
            f"LOCK TABLE {', '.join(emptied)} IN SHARE ROW EXCLUSIVE MODE",
            "; ".join(f"DELETE FROM {name}" for name in emptied),
        ]

    operations.sql_flush = sql_flush


def _is_superuser(connection: Any) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('is_superuser')")
        return bool(cursor.fetchone()[0] == "on")


def _outlast_deadlocks(operations: Any) -> None:
    execute = operations.execute_sql_flush

    def execute_sql_flush(self: Any, statements: Sequence[str]) -> None:
        patient = [f"SET LOCAL lock_timeout = '{GIVE_UP_SECONDS}s'", *statements]
        for _ in range(MOST_DEADLOCKS):
            try:
                return execute(self, patient)
            except OperationalError as error:
                if not isinstance(error.__cause__, DeadlockDetected):
                    raise
        return execute(self, patient)

    operations.execute_sql_flush = execute_sql_flush


def _after_flush(verbosity: int, interactive: bool, db: str, **_: Any) -> None:
    triggers.install(db)


def _that_hold_rows(tables: Sequence[str]) -> list[str]:
    exist = ", ".join(f'EXISTS (SELECT 1 FROM "{name}")' for name in tables)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {exist}")
        return [name for name, holds in zip(tables, cursor.fetchone(), strict=True) if holds]
