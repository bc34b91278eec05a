"""New migrations let the version before them go on."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.state import ModelState, ProjectState

from gateway_project.lib.migrations import AddColumn, AddIndexInPlace
from tests.structure import migration_lint
from tests.structure.migration_lint import examine, excuses


def test_new_migrations_are_expansions() -> None:
    assert migration_lint.complaints() == []


def test_an_older_baseline_finds_what_was_done_before_there_was_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        migration_lint,
        "baseline",
        lambda: {
            "tenants": "0001_initial",
            "routing": "0001_initial",
            "responses_api": "0001_initial",
        },
    )
    found = migration_lint.complaints()
    assert any("tenants.0008_requests_in_sums: RunPython" in complaint for complaint in found)


def told(*operations: Any, atomic: bool = True, comment: str = "") -> list[str]:
    """The complaints about a migration of the ledger's app."""
    state = ProjectState()
    for name in ("Usagerow", "Small"):
        fields: list[tuple[str, Any]] = [
            ("id", models.AutoField(primary_key=True)),
            ("word", models.CharField(max_length=20, null=True)),
            ("number", models.IntegerField(db_default=0)),
        ]
        state.add_model(ModelState("tenants", name, fields))
    body = {"operations": list(operations), "atomic": atomic}
    migration = type("Toy", (migrations.Migration,), body)("9999_toy", "tenants")
    return [text.split(": ", 1)[1] for text in examine(migration, state, set(), excuses(comment))]


NEW = models.IntegerField()
GOOD = models.IntegerField(db_default=0)
INDEX = models.Index(fields=["number"], name="toy")


@pytest.mark.parametrize(
    ("operation", "part"),
    [
        (migrations.AddField("small", "more", NEW), "writes rows without it"),
        (migrations.AddField("usagerow", "more", GOOD), "use AddColumn"),
        (
            migrations.AddField("small", "more", models.IntegerField(null=True, unique=True)),
            "its index or key",
        ),
        (migrations.RemoveField("small", "word"), "a release later"),
        (migrations.RenameField("small", "word", "text"), "a release later"),
        (migrations.RenameModel("Small", "Little"), "a release later"),
        (migrations.DeleteModel("Small"), "a release later"),
        (migrations.AlterModelTable("small", "other"), "a release later"),
        (
            migrations.AlterField("small", "word", models.CharField(max_length=20)),
            "writes NULL",
        ),
        (
            migrations.AlterField("small", "word", models.CharField(max_length=10, null=True)),
            "up to 20 characters",
        ),
        (
            migrations.AlterField("small", "number", models.CharField(max_length=9, db_default="")),
            "it turns",
        ),
        (migrations.AlterField("small", "number", models.IntegerField()), "rely on its db_default"),
        (migrations.AddIndex("usagerow", INDEX), "use AddIndexInPlace"),
        (AddIndexInPlace("usagerow", INDEX), "set atomic = False"),
        (
            migrations.AddConstraint(
                "small", models.UniqueConstraint(fields=["word"], name="toy_once")
            ),
            "rows that it refuses",
        ),
        (migrations.RunPython(migrations.RunPython.noop), "say in a comment why"),
        (migrations.RunSQL("SELECT 1"), "say in a comment why"),
        (
            migrations.SeparateDatabaseAndState(
                database_operations=[migrations.RemoveField("small", "word")]
            ),
            "a release later",
        ),
    ],
)
def test_what_the_version_before_would_stumble_over_is_named(operation: Any, part: str) -> None:
    (complaint,) = told(operation)
    assert part in complaint
    name = complaint.split(":")[0]
    assert told(operation, comment=f"# beside N-1: {name} nothing uses it since 1.3") == []


def test_expansions_are_let_through() -> None:
    assert (
        told(
            AddColumn("usagerow", "more", GOOD),
            AddIndexInPlace("usagerow", INDEX),
            migrations.AddField("small", "more", models.TextField(null=True)),
            migrations.AlterField("small", "word", models.CharField(max_length=30, null=True)),
            migrations.CreateModel("New", [("id", models.AutoField(primary_key=True)), ("a", NEW)]),
            migrations.RenameField("new", "a", "b"),
            migrations.AddConstraint("new", models.UniqueConstraint(fields=["b"], name="b_once")),
            atomic=False,
        )
        == []
    )


def test_an_excuse_needs_a_reason() -> None:
    assert excuses("# beside N-1: RunPython\n# beside N-1: RunSQL ok") == set()
