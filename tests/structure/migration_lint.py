"""Find what in a new migration breaks the version before it, which serves while it runs: `make check`.

New are the migrations behind those that migrations_baseline.txt names, the last ones of the last release.
Each must be an expansion: the version before reads and writes the new tables as well (docs/upgrade.md). What
is safe although it looks otherwise says why, in a comment of its file, by the name of the operation:

    # beside N-1: RunPython fills a column that only this version reads
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

from gateway_project.lib.migrations import AddColumn, AddIndexInPlace

BASELINE = Path(__file__).with_name("migrations_baseline.txt")
# Tables that grow with use: nothing may copy them, or read them whole while nobody can write.
LARGE = {
    ("tenants", "usagerow"),
    ("tenants", "auditevent"),
    ("tenants", "refusal"),
    ("responses_api", "storedresponse"),
    ("responses_api", "storeditem"),
    ("responses_api", "guardrailevent"),
}
_EXCUSE = re.compile(r"# beside N-1: (\w+) (\w.{8,})")
Model = tuple[str, str]


def baseline() -> dict[str, str]:
    """Return by app the last migration of the last release."""
    lines = BASELINE.read_text(encoding="utf-8").splitlines()
    return dict(line.split(".", 1) for line in lines if line and not line.startswith("#"))


def complaints() -> list[str]:
    """Return what is wrong with the migrations that are newer than the baseline."""
    loader = MigrationLoader(None)
    known = baseline()
    leaves = loader.graph.leaf_nodes()
    plan = dict.fromkeys(key for leaf in leaves for key in loader.graph.forwards_plan(leaf))
    old = {key for app, name in known.items() for key in loader.graph.forwards_plan((app, name))}
    state = loader.project_state([(app, name) for app, name in known.items()])
    made: set[Model] = set()
    found: list[str] = []
    for app, name in plan:
        if app in known and (app, name) not in old:
            migration = loader.graph.nodes[app, name]
            found += examine(migration, state, made, excuses(_source_of(migration)))
    return found


def examine(migration: Any, state: ProjectState, made: set[Model], excused: set[str]) -> list[str]:
    """Return what is wrong with a migration, and go on to the state behind it. `made`: models that the
    version before has never heard of, with which anything may be done."""
    found = []
    for operation in migration.operations:
        for step in _steps(operation):
            name = type(step).__name__
            if name not in excused:
                found += [
                    f"{migration.app_label}.{migration.name}: {name}: {problem}"
                    for problem in problems(step, migration, state, made)
                ]
            if isinstance(step, migrations.CreateModel):
                made.add((migration.app_label, step.name.lower()))
        operation.state_forwards(migration.app_label, state)
    return found


def excuses(source: str) -> set[str]:
    """Return the operations that the text of a migration gives a reason for."""
    return {name for name, _ in _EXCUSE.findall(source)}


def _source_of(migration: Any) -> str:
    return Path(inspect.getfile(type(migration))).read_text(encoding="utf-8")


def _steps(operation: Any) -> list[Any]:
    """Return what the operation does to the database."""
    if isinstance(operation, migrations.SeparateDatabaseAndState):
        return list(operation.database_operations)
    return [operation]


def problems(
    operation: Any, migration: Any, state: ProjectState, made: set[Model]
) -> Iterator[str]:
    """Return why an operation is not safe beside the version before."""
    model = (migration.app_label, _model_of(operation))
    if model in made or isinstance(operation, migrations.CreateModel):
        return
    match operation:
        case migrations.RunPython() | migrations.RunSQL():
            yield "say in a comment why it may run while the version before serves"
        case migrations.AddField():
            yield from _of_new_field(operation, model)
        case migrations.AlterField():
            former = state.models[model].fields[operation.name]
            yield from _of_changed_field(former, operation.field, model)
        case migrations.AddIndex():
            if model in LARGE and not isinstance(operation, AddIndexInPlace):
                yield "nobody can write to this large table meanwhile; use AddIndexInPlace"
            if isinstance(operation, AddIndexInPlace) and migration.atomic:
                yield "in a transaction nothing is concurrent; set atomic = False"
        case migrations.AddConstraint() | migrations.AlterUniqueTogether():
            yield "the version before may write rows that it refuses, and it reads the whole table"
        case _ if isinstance(operation, _CONTRACTIONS):
            yield "the version before still uses what it takes away; do it a release later"


_CONTRACTIONS = (
    migrations.DeleteModel,
    migrations.RemoveField,
    migrations.RenameField,
    migrations.RenameModel,
    migrations.AlterModelTable,
)


def _of_new_field(operation: Any, model: Model) -> Iterator[str]:
    field = operation.field
    if field.many_to_many:
        return
    if not field.null and not field.has_db_default():
        yield "the version before writes rows without it; make it nullable, or give it a db_default"
    if field.unique or (model in LARGE and isinstance(field, models.ForeignKey)):
        yield "its index or key is made while nobody can write; add it in a step of its own"
    if model in LARGE and not isinstance(operation, AddColumn):
        yield "SQLite copies this large table; use AddColumn"


def _of_changed_field(former: Any, field: Any, model: Model) -> Iterator[str]:
    if former.null and not field.null:
        yield "the version before writes NULL into it"
    if former.has_db_default() and not field.has_db_default() and not field.null:
        yield "the version before may rely on its db_default"
    if field.unique and not former.unique:
        yield "the version before may write a value twice"
    widest, length = former.max_length, field.max_length
    if widest and length:
        if length < widest:
            yield f"the version before writes up to {widest} characters"
    elif _type(former) != _type(field):
        yield f"it turns {_type(former)} into {_type(field)}, which the version before does not expect"


def _type(field: Any) -> Any:
    if isinstance(field, models.ForeignKey):
        return "key"  # what it leads to is not known without all models
    return field.db_type(connection)


def _model_of(operation: Any) -> str:
    name = getattr(operation, "model_name", None) or getattr(operation, "name", None)
    name = name or getattr(operation, "old_name", None) or ""
    return str(name).lower()


def main() -> int:
    django.setup()
    found = complaints()
    for complaint in found:
        print(complaint)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
