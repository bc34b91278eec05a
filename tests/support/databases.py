"""Migrated databases: one process of a run migrates, all others copy what it made.

Every process of a run needs a database of its own, as does almost every gateway that is started as a process.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import connection
from psycopg.errors import ObjectInUse

from tests.plugins.services import TEMPLATE_DATABASE, URLS
from tests.plugins.tiers import SEED
from tests.processes.served import environment, manage
from tests.support.once import made_once
from tests.support.patience import until


def migrated_directory(factory: pytest.TempPathFactory) -> Path:
    """Return a data directory with a database without rows, which is not to be changed."""

    def migrate(place: Path) -> None:
        manage(environment(place), "migrate", "-v", "0")

    return made_once(factory, "migrated", migrate)


def copy_migrated(factory: pytest.TempPathFactory, data_dir: Path) -> dict[str, str]:
    """Make this data directory, with a database without rows; return its variables."""
    shutil.copytree(migrated_directory(factory), data_dir, dirs_exist_ok=True)
    return environment(data_dir)


def migrated_template(factory: pytest.TempPathFactory) -> str:
    """Return the database on the PostgreSQL of this run that others are copied from; it is dropped at the end
    of the run (tests/plugins/services.py)."""

    def migrate(place: Path) -> None:
        with psycopg.connect(URLS["postgres"], autocommit=True) as server:
            create_database(server, TEMPLATE_DATABASE, "template1")
        variables = environment(place, DATABASE_URL=url_of(TEMPLATE_DATABASE))
        manage(variables, "migrate", "-v", "0")

    made_once(factory, "migrated-postgres", migrate)
    return TEMPLATE_DATABASE


def make_test_database(factory: pytest.TempPathFactory) -> None:
    """Put a migrated database where Django is about to make the one for tests."""
    name = connection.settings_dict["TEST"]["NAME"] or f"test_{connection.settings_dict['NAME']}"
    if connection.vendor == "sqlite":
        file_name = Path(connection.settings_dict["NAME"]).name
        shutil.copy(migrated_directory(factory) / file_name, name)
        return
    template = migrated_template(factory)
    with psycopg.connect(URLS["postgres"], autocommit=True) as server:
        server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        create_database(server, name, template)


def spread_ids() -> None:
    """Let the rows of each table have ids of their own range, of seven digits.

    So no id is that of another table's row, none happens to be part of a status, a date or a sum in a text
    that a test looks for it in, and no test comes to rely on the ids that an empty database hands out.
    """
    tables = sorted(name for name in connection.introspection.table_names() if "_" in name)
    random.Random(SEED).shuffle(tables)
    with connection.cursor() as cursor:
        for number, table in enumerate(tables, start=100):
            for sequence in connection.introspection.get_sequences(cursor, table):
                _begin_at(cursor, sequence, 10_000 * number + 1)


def _begin_at(cursor: Any, sequence: Any, first: int) -> None:
    table, column = sequence["table"], sequence["column"]
    if connection.vendor == "sqlite":
        cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [table])
        cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, first])
    else:
        cursor.execute("SELECT setval(pg_get_serial_sequence(%s, %s), %s)", [table, column, first])


def create_database(server: psycopg.Connection[Any], name: str, like: str) -> None:
    def is_created() -> bool:
        try:
            server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{like}"')
        except ObjectInUse:  # another process of this run copies it just now
            return False
        return True

    until(is_created)


def url_of(database: str) -> str:
    return urlsplit(URLS["postgres"])._replace(path=f"/{database}").geturl()
