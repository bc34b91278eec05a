"""Emptying SQLite's tables between tests, although triggers refuse to let rows of some of them go.

Django flushes them with DELETE (PostgreSQL's with TRUNCATE, which no trigger of ours sees). Where guarded
tables hold rows, the triggers are taken out within the flush; what follows it, post_migrate, puts them back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper

from tenants import triggers

GUARDED = sorted({t.table for t in triggers.REGISTRY if t.event == "DELETE"})


def let_through_triggers() -> None:
    operations: Any = DatabaseWrapper.ops_class
    flush = operations.sql_flush

    def sql_flush(self: Any, style: Any, tables: Sequence[str], **options: Any) -> list[str]:
        statements = flush(self, style, tables, **options)
        if not _hold_rows(self.connection.alias, [name for name in GUARDED if name in tables]):
            return list(statements)
        drops = [f'DROP TRIGGER IF EXISTS "{trigger.name}"' for trigger in triggers.REGISTRY]
        return [*drops, *statements]

    operations.sql_flush = sql_flush


def _hold_rows(using: str, tables: Sequence[str]) -> bool:
    if not tables:
        return False
    exist = " OR ".join(f'EXISTS (SELECT 1 FROM "{name}")' for name in tables)
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {exist}")
        return bool(cursor.fetchone()[0])
