"""The tables of an empty database are made at once, or not at all. That they are those of the migrations is
compared in tests/upgrade."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import OperationalError, connections, migrations
from django.db.migrations.executor import MigrationExecutor

from gateway_project.lib import new_tables
from tenants.walls import walls


@pytest.fixture
def empty(tmp_path: Path, django_db_blocker: Any) -> Iterator[Any]:
    """A database of SQLite beside the one of the tests, which stays as it is."""
    like = connections.settings["default"]
    engine = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "empty", "OPTIONS": {}}
    connections.settings["empty"] = {**like, **engine}
    with django_db_blocker.unblock():
        yield connections["empty"]
    connections["empty"].close()
    del connections["empty"]
    del connections.settings["empty"]


Extend = Callable[..., None]


@pytest.fixture
def extend(monkeypatch: pytest.MonkeyPatch) -> Extend:
    """Give a migration further operations."""

    def extend(*further: Any) -> None:
        migration = import_module("tenants.migrations.0002_responses_state").Migration
        monkeypatch.setattr(migration, "operations", [*migration.operations, *further])

    return extend


def pending(connection: Any) -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def test_all_is_made_or_nothing(empty: Any, extend: Extend) -> None:
    ran: list[str] = []

    def note(name: str) -> Any:
        return lambda _apps, editor: ran.append(f"{name} on {editor.connection.alias}")

    extend(
        migrations.RunPython(note("code")),
        migrations.RunPython(note("code for rows"), elidable=True),
        migrations.RunSQL("CREATE TABLE further (id integer)"),
    )
    all_of_them = pending(empty)
    with empty.cursor() as cursor:
        (usual,) = cursor.execute("PRAGMA max_page_count").fetchone()
        cursor.execute("PRAGMA max_page_count = 100")
    with pytest.raises(OperationalError, match="full"):
        new_tables.make(empty)
    assert empty.introspection.table_names() == []
    with empty.cursor() as cursor:
        cursor.execute(f"PRAGMA max_page_count = {usual}")
    ran.clear()

    assert new_tables.make(empty) == all_of_them
    assert ran == ["code on empty"]
    made = set(empty.introspection.table_names())
    models = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    assert made == models | {"django_migrations", "further"}
    assert pending(empty) == 0
    assert new_tables.make(empty) == 0


def test_it_is_left_to_the_migrations_where_there_is_a_table(empty: Any) -> None:
    with empty.cursor() as cursor:
        cursor.execute("CREATE TABLE somebodys (id integer)")
    assert new_tables.make(empty) == 0
    assert empty.introspection.table_names() == ["somebodys"]


def test_and_where_an_operation_does_what_models_do_not_tell(empty: Any, extend: Extend) -> None:
    extend(migrations.SeparateDatabaseAndState())
    assert new_tables.make(empty) == 0
    assert empty.introspection.table_names() == []


def test_a_database_that_lacks_tables_is_not_asked_for_links_between_tenants(empty: Any) -> None:
    MigrationExecutor(empty).recorder.ensure_schema()
    walls.report_strays(["tenants.0001_initial"], empty.alias)
    assert empty.introspection.table_names() == ["django_migrations"]
