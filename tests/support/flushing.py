"""Emptying the tables between tests: quickly, and past triggers that refuse to let rows go.

Django's flush sends post_migrate, which looks up the content type and the permissions of every model again:
a third of a small test's time. Here those two tables are left as `migrate` filled them, so nothing needs to.

Tables that hold rows are emptied with DELETE, past their triggers: SQLite's are taken out within the flush,
and put back at its end; on PostgreSQL a superuser's session heeds none. For any other user all tables are
truncated, which makes some four hundred files anew.

What a test left running may write meanwhile: where a deadlock comes of that, the flush is tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.commands import flush
from django.db import OperationalError, connections
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.backends.postgresql.operations import DatabaseOperations as PostgresOperations
from django.db.backends.sqlite3.base import DatabaseWrapper
from psycopg.errors import DeadlockDetected

from tenants import triggers
from tests.support.patience import GIVE_UP_SECONDS

STATIC = frozenset({"django_content_type", "auth_permission"})
MOST_DEADLOCKS = 5
GUARDED = sorted({t.table for t in triggers.REGISTRY if t.event == "DELETE"})


def flush_quickly() -> None:
    sqlite: Any = DatabaseWrapper.ops_class
    for operations in (sqlite, PostgresOperations):
        _leave_static(operations)
    _let_through_triggers(sqlite)
    _empty_those_that_hold_rows(PostgresOperations)
    _outlast_deadlocks(PostgresOperations)
    module: Any = flush
    module.emit_post_migrate_signal = _after_flush


def _leave_static(operations: type[BaseDatabaseOperations]) -> None:
    flush_sql: Any = operations.sql_flush

    def sql_flush(self: Any, style: Any, tables: Sequence[str], **options: Any) -> list[str]:
        kept = [name for name in tables if name not in STATIC]
        return list(flush_sql(self, style, kept, **options))

    setattr(operations, "sql_flush", sql_flush)  # noqa: B010 - a method, to the type checker


def _let_through_triggers(operations: Any) -> None:
    flush_sql = operations.sql_flush

    def sql_flush(self: Any, style: Any, tables: Sequence[str], **options: Any) -> list[str]:
        statements = flush_sql(self, style, tables, **options)
        held = _that_hold_rows(self.connection.alias, [name for name in GUARDED if name in tables])
        guards = [t for t in triggers.REGISTRY if t.event == "DELETE" and t.table in held]
        drops = [f'DROP TRIGGER IF EXISTS "{guard.name}"' for guard in guards]
        return [*drops, *statements, *(guard.sqlite_sql() for guard in guards)]

    operations.sql_flush = sql_flush


def _empty_those_that_hold_rows(operations: Any) -> None:
    truncate_sql = operations.sql_flush

    def sql_flush(self: Any, style: Any, tables: Sequence[str], **options: Any) -> list[str]:
        if not tables or options.get("reset_sequences") or not _is_superuser(self.connection):
            return list(truncate_sql(self, style, tables, **options))
        held = _that_hold_rows(
            self.connection.alias, [name for name in tables if name not in STATIC]
        )
        deletions = [f'DELETE FROM "{name}"' for name in sorted(held)]
        return ["SET LOCAL session_replication_role = replica", *deletions] if held else []

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


def _that_hold_rows(using: str, tables: Sequence[str]) -> set[str]:
    if not tables:
        return set()
    exist = ", ".join(f'EXISTS (SELECT 1 FROM "{name}")' for name in tables)
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {exist}")
        return {name for name, holds in zip(tables, cursor.fetchone(), strict=True) if holds}
