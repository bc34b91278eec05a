"""Change large tables without copying them and without keeping others from writing.

For migrations with `atomic = False`, which may have to be run again after a failure half-way: each of these
operations does nothing where its work is done already.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState


class AddColumn(migrations.AddField):
    """Add a column that is nullable or has a constant `db_default`, by one ALTER TABLE on every database.

    On SQLite, Django copies the whole table where a column may not be NULL, though SQLite can add one with a
    constant default in place (https://www.sqlite.org/lang_altertable.html#altertabaddcol)."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        field: Any = model._meta.get_field(self.name)
        if field.column not in _columns(schema_editor.connection, model._meta.db_table):
            from_model = from_state.apps.get_model(app_label, self.model_name)
            BaseDatabaseSchemaEditor.add_field(schema_editor, from_model, field)


class AddIndexInPlace(migrations.AddIndex):
    """Add an index; on PostgreSQL concurrently, so that rows are written while it is built.

    A build that was interrupted leaves an invalid index behind, which is dropped before it is built again
    (https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY). In a
    transaction nothing can be concurrent: then it is built as usual."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        connection = schema_editor.connection
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(connection.alias, model):
            return
        if connection.vendor != "postgresql":
            if self.index.name not in _constraints(connection, model._meta.db_table):
                schema_editor.add_index(model, self.index)
            return
        is_concurrent = not connection.in_atomic_block
        is_valid = _is_valid(connection, self.index.name)
        with _waiting(connection, for_ever=is_concurrent):
            if is_valid is False:
                schema_editor.remove_index(model, self.index, concurrently=is_concurrent)
            if not is_valid:
                schema_editor.add_index(model, self.index, concurrently=is_concurrent)


@contextmanager
def _waiting(connection: Any, *, for_ever: bool) -> Iterator[None]:
    """Wait however long for others where nobody waits behind us: a build that gives up begins anew."""
    if not for_ever:
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        (usual,) = cursor.fetchone()
        cursor.execute("SET lock_timeout = 0")
        try:
            yield
        finally:
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", [usual])


def _columns(connection: Any, table: str) -> set[str]:
    """Ask the table itself: to describe it, Django parses the statement that made it on SQLite."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)} LIMIT 0")  # noqa: S608
        return {column[0] for column in cursor.description}


def _constraints(connection: Any, table: str) -> set[str]:
    with connection.cursor() as cursor:
        return set(connection.introspection.get_constraints(cursor, table))


def _is_valid(connection: Any, index: str) -> bool | None:
    """Tell whether an index was built to its end; None if there is none of that name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "WHERE c.relname = %s AND pg_table_is_visible(c.oid)",
            [index],
        )
        found = cursor.fetchone()
    return None if found is None else bool(found[0])
