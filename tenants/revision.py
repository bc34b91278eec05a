"""Count the configuration's revision: one number that every change of keys or routes raises.

Workers keep authentication and routing in memory and compare this number twice a second
(docs/adr/0005-revision-counter.md), so whatever may change an answer must raise it in the same
transaction. `RevisionedModel` does that for every way the ORM offers to write a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from django.db import connection, models, transaction

from gateway_project.lib.db import durable_transaction
from tenants.audit.querysets import RecordedModel, RecordedQuerySet

M = TypeVar("M", bound=models.Model)

_listeners: list[Callable[[], None]] = []


class Revision(models.Model):
    """A single row, id 1."""

    number = models.PositiveBigIntegerField(default=0)

    class Meta:
        db_table = "tenants_revision"

    def __str__(self) -> str:
        return str(self.number)


def current() -> int:
    """Return the number as committed; 0 before the first change."""
    # Asked twice a second by each worker on PostgreSQL; to build the query would cost more than to run it.
    with connection.cursor() as cursor:
        cursor.execute("SELECT number FROM tenants_revision WHERE id = 1")
        row = cursor.fetchone()
    return 0 if row is None else int(row[0])


def bump() -> None:
    """Raise the number in the running transaction and tell the listeners once it is committed."""
    # Every write of a key or a route does this: to build the query would take longer than to run it.
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO tenants_revision (id, number) VALUES (1, 1)"
            " ON CONFLICT (id) DO UPDATE SET number = tenants_revision.number + 1"
        )
    transaction.on_commit(_notify)


def on_change(listener: Callable[[], None]) -> None:
    """Call `listener` after each committed change made by this process."""
    _listeners.append(listener)


def forget(listener: Callable[[], None]) -> None:
    """Undo `on_change`."""
    _listeners.remove(listener)


def _notify() -> None:
    for listener in tuple(_listeners):
        listener()


class RevisionedQuerySet(RecordedQuerySet[M]):
    """Bulk writes raise the revision too."""

    @durable_transaction()
    def update(self, **values: Any) -> int:
        rows = super().update(**values)
        bump()
        return rows

    update.alters_data = True  # type: ignore[attr-defined]  # Django's mark for templates

    @durable_transaction()
    def delete(self) -> tuple[int, dict[str, int]]:
        deleted = super().delete()
        bump()
        return deleted

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    @durable_transaction()
    def bulk_create(self, objs: Iterable[M], *args: Any, **options: Any) -> list[M]:
        created = super().bulk_create(objs, *args, **options)
        bump()
        return created


class RevisionedModel(RecordedModel):
    """A row that answers of the hot path depend on."""

    # What a plugin takes for an instance's variable is the class's, as above it.
    objects = RevisionedQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        abstract = True

    @durable_transaction()
    def save(self, *args: Any, **options: Any) -> None:
        super().save(*args, **options)
        bump()

    @durable_transaction()
    def delete(self, *args: Any, **options: Any) -> tuple[int, dict[str, int]]:
        deleted = super().delete(*args, **options)
        bump()
        return deleted
