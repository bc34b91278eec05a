"""The configuration's revision: one number that every change of keys or routes raises.

Workers keep authentication and routing in memory and compare this number twice a second
(docs/adr/0005-revision-counter.md), so whatever may change an answer must raise it in the same transaction.
`RevisionedModel` does that for every way the ORM offers to write a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from django.db import models, transaction
from django.db.models import F

from gateway_project.lib.db import durable_transaction

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
    """The number as committed; 0 before the first change."""
    row = Revision.objects.filter(id=1).values_list("number", flat=True).first()
    return row or 0


def bump() -> None:
    """Raise the number in the running transaction and tell the listeners once it is committed."""
    if not Revision.objects.filter(id=1).update(number=F("number") + 1):
        Revision.objects.get_or_create(id=1, defaults={"number": 1})
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


class RevisionedQuerySet(models.QuerySet[M]):
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


class RevisionedModel(models.Model):
    """A row that answers of the hot path depend on."""

    objects = RevisionedQuerySet.as_manager()

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
