"""Migrated databases: one process of a run migrates, all others copy what it made.

Migrating takes ten seconds of processor time, and every process of a run needs a database of its own, as
does almost every gateway that is started as a process. SQLite's is kept in var/cache for the next run, until
one of the files changes that say what is in it; what a migration leaves to do each time is done each time.
"""

from __future__ import annotations

import fcntl
import hashlib
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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
from tests.support.patience import GIVE_UP_SECONDS, until
from tests.support.warm import ROOT

CACHE = ROOT / "var" / "cache" / "migrated"
# The migrations, and whatever they import.
DECISIVE = (
    "*/migrations/*.py",
    "*/models.py",
    "*/models/*.py",
    "*/validators.py",
    "gateway_project/lib/*.py",
    "requirements/base.lock",
    "tenants/billing/instants.py",
    "tenants/ledger/partitions.py",
    "tenants/triggers.py",
    "tenants/units.py",
    "tenants/walls/*.py",
)
# It takes longer than anything else that a test waits for.
MIGRATING_SECONDS = 10 * GIVE_UP_SECONDS


def migrated_directory(factory: pytest.TempPathFactory) -> Path:
    """Return a data directory with a database without rows, which is not to be changed."""

    def migrate(place: Path) -> None:
        kept = CACHE / _digest()
        with _cache_for_ourselves():
            if kept.exists():
                shutil.copytree(kept, place, dirs_exist_ok=True)
        manage(environment(place), "migrate", "-v", "0", seconds=MIGRATING_SECONDS)
        with _cache_for_ourselves():
            if not kept.exists():
                _keep(place, kept)

    return made_once(factory, "migrated", migrate)


def _digest() -> str:
    found = hashlib.sha256()
    for path in sorted({path for pattern in DECISIVE for path in ROOT.glob(pattern)}):
        content = path.read_bytes()
        found.update(f"{path.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return found.hexdigest()[:24]


@contextmanager
def _cache_for_ourselves() -> Iterator[None]:
    """Let another run on this checkout wait, such as CI's of the clients."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _keep(place: Path, kept: Path) -> None:
    """Keep it instead of those before it."""
    for former in CACHE.iterdir():
        if former.is_dir():
            shutil.rmtree(former)
    making = CACHE / "making"
    shutil.copytree(place, making)
    making.rename(kept)


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
        manage(variables, "migrate", "-v", "0", seconds=MIGRATING_SECONDS)

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
