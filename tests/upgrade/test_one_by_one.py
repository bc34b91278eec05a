"""A new installation has the tables, and the rows, that all migrations make one after the other; so has one
where `migrate` was killed half-way and goes on.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.processes.conftest import new_database
from tests.processes.served import environment, manage
from tests.support import schema
from tests.support.databases import migrated_directory, url_of
from tests.support.patience import GIVE_UP_SECONDS

# As a `migrate` leaves it that is killed.
HALF_WAY = """
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
MigrationExecutor(connection).migrate([("tenants", "0020_refusals"), ("routing", "0004_existing_links")])
"""
FILE = "tollgate.sqlite3"
pytestmark = pytest.mark.proof


def migrate_one_by_one(variables: dict[str, str]) -> None:
    half_way = ("shell", "--no-imports", "-v", "0", "-c", HALF_WAY)
    for arguments in (half_way, ("migrate",)):
        told = manage(variables, *arguments, seconds=10 * GIVE_UP_SECONDS)
    assert "Applying tenants.0021_sums_by_model... OK" in told


def rows_of(connection: Any, tables: set[str]) -> dict[str, list[str]]:
    """Return all rows by table, by the names of their columns, without the order of migrations."""
    found = {}
    for table in tables:
        columns = "app, name" if table == "django_migrations" else "*"
        rows = connection.execute(f'SELECT {columns} FROM "{table}"')
        names = [column[0] for column in rows.description]
        named = (dict(zip(names, row, strict=True)) for row in rows.fetchall())
        found[table] = sorted(str(sorted(row.items())) for row in named)
    return found


def tables_in(found: set[str]) -> set[str]:
    return {part.split('"')[1] for part in found if 'CREATE TABLE "' in part}


def test_on_sqlite(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    migrate_one_by_one(environment(tmp_path))
    one_by_one, at_once = tmp_path / FILE, migrated_directory(tmp_path_factory) / FILE
    parts = schema.of_sqlite(one_by_one)
    assert schema.of_sqlite(at_once) == parts
    tables = tables_in(parts)
    assert len(tables) > 80
    with closing(sqlite3.connect(one_by_one)) as first, closing(sqlite3.connect(at_once)) as second:
        assert rows_of(second, tables) == rows_of(first, tables)


@pytest.mark.postgres
def test_on_postgresql(tmp_path: Path) -> None:
    with new_database() as first, new_database() as second:
        migrate_one_by_one(environment(tmp_path, DATABASE_URL=url_of(first)))
        variables = environment(tmp_path, DATABASE_URL=url_of(second))
        manage(variables, "migrate", "-v", "0")
        assert schema.of_postgres(url_of(second)) == schema.of_postgres(url_of(first))
        rows = []
        for name in (first, second):
            with psycopg.connect(url_of(name)) as connection:
                listed = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
                tables = {table for (table,) in connection.execute(listed)}
                rows.append(rows_of(connection, tables))
        assert rows[0].keys() >= {"tenants_usagerow_default", "auth_permission"}
        assert rows[1] == rows[0]
