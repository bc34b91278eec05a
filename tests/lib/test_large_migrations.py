"""Migrations of large tables change them in place, and go on where they were interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import IntegrityError, connection, migrations, models
from django.db.migrations.state import ProjectState

from gateway_project.lib.migrations import AddColumn, AddIndexInPlace
from tenants.models import UsageRow

pytestmark = [pytest.mark.persistence, pytest.mark.django_db(transaction=True)]

TABLE = "toy_large"
CREATE = migrations.CreateModel(
    "Large", [("id", models.AutoField(primary_key=True)), ("number", models.IntegerField())]
)
COLUMNS = (
    AddColumn("large", "is_new", models.BooleanField(default=False, db_default=False)),
    AddColumn("large", "word", models.CharField(max_length=8, default="", db_default="")),
    AddColumn("large", "units", models.JSONField(null=True)),
)
INDEX = AddIndexInPlace("large", models.Index(fields=["number"], name="toy_by_number"))


def run(statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def apply(operation: Any, state: ProjectState, *, atomic: bool = False) -> ProjectState:
    after = state.clone()
    operation.state_forwards("toy", after)
    with connection.schema_editor(atomic=atomic) as editor:
        operation.database_forwards("toy", editor, state, after)
    return after


def indexes() -> set[str]:
    with connection.cursor() as cursor:
        return set(connection.introspection.get_constraints(cursor, TABLE))


@pytest.fixture
def state(transactional_db: None) -> Iterator[ProjectState]:
    """A table with two rows."""
    made = apply(CREATE, ProjectState())
    run(f"INSERT INTO {TABLE} (number) VALUES (7), (7)")
    yield made
    run(f"DROP TABLE {TABLE}")


def place() -> list[Any]:
    """Return where the database keeps the table; that changes when the table is copied."""
    if connection.vendor == "postgresql":
        return run(f"SELECT pg_relation_filenode('{TABLE}')")
    return run(f"SELECT rootpage FROM sqlite_master WHERE name = '{TABLE}'")


def test_columns_are_added_without_copying_the_table_and_only_once(state: ProjectState) -> None:
    before = place()
    for _ in range(2):
        after = state
        for column in COLUMNS:
            after = apply(column, after)
    assert place() == before
    rows = run(f"SELECT number, is_new, word, units FROM {TABLE}")
    assert [tuple(row) for row in rows] == [(7, False, "", None)] * 2


def test_an_index_is_built_once_and_anew_where_its_build_was_interrupted(
    state: ProjectState,
) -> None:
    if connection.vendor == "postgresql":
        with pytest.raises(IntegrityError):  # which leaves an index that no query uses
            run(f"CREATE UNIQUE INDEX CONCURRENTLY toy_by_number ON {TABLE} (number)")
        assert "toy_by_number" in indexes()
    for _ in range(2):
        apply(INDEX, state)
    assert "toy_by_number" in indexes()
    run(f"INSERT INTO {TABLE} (number) VALUES (7)")  # it is the index that was asked for
    apply(
        AddIndexInPlace("large", models.Index(fields=["-number"], name="toy_backwards")),
        state,
        atomic=connection.vendor == "postgresql",
    )
    assert "toy_backwards" in indexes()


def test_lists_of_the_console_have_an_index() -> None:
    """SQLite is asked, whose plans do not depend on how many rows there are."""
    not_completed = UsageRow.objects.exclude(status="completed").order_by("-opened_at")
    asked = {
        "usage_of_key_by_time": UsageRow.objects.filter(key_id=1).order_by("-opened_at"),
        "usage_not_completed": not_completed,
        "usage_not_completed_of_tenant": not_completed.filter(tenant=1),
        "usage_with_units": UsageRow.objects.filter(units__isnull=False, tenant=1).order_by(),
    }
    for index, rows in asked.items():
        plan = rows[:50].explain()
        assert connection.vendor != "sqlite" or f"INDEX {index} " in f"{plan} ", plan
