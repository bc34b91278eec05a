"""Make the tables of an empty database at once, as the last migration leaves them.

Applied one by one, each operation of each migration has Django build the classes of nearly all models anew.
The state behind the last migration tells the same tables, and is built once. What it does not tell is done by
the operations themselves: those that run code or SQL and do not say `elidable`, Django's word for what may be
left out where there are no rows (docs/adr/0026-tables-of-a-new-database.md).
"""

from __future__ import annotations

from typing import Any

from django.db import router
from django.db.migrations import Migration, RunPython, RunSQL
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.fields import FieldOperation
from django.db.migrations.operations.models import IndexOperation, ModelOperation
from django.db.migrations.state import ProjectState

# What these do to a database, the state of the models tells.
_TOLD = (FieldOperation, IndexOperation, ModelOperation)


def make(connection: Any) -> int:
    """Make all tables and note every migration as applied, in one transaction; return how many those are.

    Return 0, and leave everything to be done migration by migration, where there is a table already or an
    operation of a kind that we do not know.
    """
    if connection.introspection.table_names():
        return 0
    executor = MigrationExecutor(connection)
    plan = [migration for migration, _ in executor.migration_plan(_leaves(executor))]
    if not plan or executor.loader.detect_conflicts() or not _is_told(plan):
        return 0
    state = executor.loader.project_state()
    with connection.schema_editor(atomic=True) as editor:
        _create(editor, state)
        for migration in plan:
            for operation in _further(migration):
                operation.database_forwards(migration.app_label, editor, state, state)
        _note(executor, editor, plan)
    return len(plan)


def _leaves(executor: MigrationExecutor) -> list[Any]:
    return list(executor.loader.graph.leaf_nodes())


def _is_told(plan: list[Migration]) -> bool:
    """Tell whether the state, and the operations that run code or SQL, are all there is to be done."""
    known = (*_TOLD, RunPython, RunSQL)
    return all(isinstance(operation, known) for one in plan for operation in one.operations)


def _further(migration: Migration) -> list[Operation]:
    """Return the operations that have something to do in a database without rows, beside its tables."""
    return [
        operation
        for operation in migration.operations
        if isinstance(operation, RunPython | RunSQL) and not operation.elidable
    ]


def _create(editor: Any, state: ProjectState) -> None:
    """Create the tables, then the indexes and foreign keys that wait until there are all tables."""
    alias = editor.connection.alias
    for app_label, name in state.models:
        model = state.apps.get_model(app_label, name)
        if model._meta.can_migrate(alias) and router.allow_migrate_model(alias, model):
            editor.create_model(model)
    for statement in editor.deferred_sql:
        editor.execute(statement, None)
    editor.deferred_sql.clear()


def _note(executor: MigrationExecutor, editor: Any, plan: list[Migration]) -> None:
    """Note each migration as applied, as if they had been applied one by one."""
    recorder = executor.recorder
    editor.create_model(recorder.Migration)
    recorder.migration_qs.bulk_create(
        recorder.Migration(app=migration.app_label, name=migration.name) for migration in plan
    )
