"""Record what is written past a row's `save`: QuerySet.update, bulk_create and bulk_update.

Django sends no signal for these. Here they are changes like any other, in one transaction with their events.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections, models, transaction

from tenants.audit import registry

M = TypeVar("M", bound=models.Model)


class Watcher(Protocol):
    """Records changes of many rows. Known once the apps are ready: it needs the log's own models."""

    def before_update(self, rows: models.QuerySet[Any]) -> dict[Any, models.Model]: ...

    def after_update(
        self, model: type[models.Model], before: dict[Any, models.Model], using: str
    ) -> None: ...

    def after_create(self, rows: Iterable[models.Model]) -> None: ...


_watchers: list[Watcher] = []


def watch(watcher: Watcher) -> None:
    _watchers[:] = [watcher]


class RecordedQuerySet(models.QuerySet[M]):
    """Bulk writes of recorded models are events, too."""

    def update(self, **values: Any) -> int:
        told = registry.of(self.model)
        if told is None or told.ignores(values):
            return super().update(**values)
        (watcher,) = _watchers
        with _transaction(self.db):
            before = watcher.before_update(self)
            # No others, should more rows match by now: each that changes was seen before.
            count = models.QuerySet.update(self.filter(pk__in=list(before)), **values)
            watcher.after_update(self.model, before, self.db)
        return count

    update.alters_data = True  # type: ignore[attr-defined]  # Django's mark for templates

    def bulk_create(self, objs: Iterable[M], *args: Any, **options: Any) -> list[M]:
        if registry.of(self.model) is None:
            return super().bulk_create(objs, *args, **options)
        if options.get("ignore_conflicts") or options.get("update_conflicts"):
            raise ValueError("Which rows were stored could not be told in the audit log.")
        (watcher,) = _watchers
        with _transaction(self.db):
            created = super().bulk_create(objs, *args, **options)
            watcher.after_create(created)
        return created


class RecordedModel(models.Model):
    """A row whose changes are events: the change and its event are one transaction."""

    objects = RecordedQuerySet.as_manager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **options: Any) -> None:
        with _transaction(DEFAULT_DB_ALIAS):
            super().save(*args, **options)


def _transaction(using: str) -> AbstractContextManager[object]:
    """Open a transaction where there is none; in one, a savepoint would only cost two queries."""
    if connections[using].in_atomic_block:
        return nullcontext()
    return transaction.atomic(using=using)
