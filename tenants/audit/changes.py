"""Turn changes of recorded rows into events, whoever makes them: a page, the API, a command, a job.

Django's signals tell of single rows and of what a deletion takes along; `querysets` tells of the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db.models import Model, QuerySet
from django.db.models.signals import post_save, pre_delete, pre_save
from django.utils import translation

from tenants.access import ownership
from tenants.audit import events, querysets, registry, values
from tenants.audit.registry import Recorded
from tenants.models.audit import AuditEvent

Values = dict[str, Any]
_BEFORE = "_audit_before"


def connect() -> None:
    """Record changes from now on."""
    for model in registry.resolve():
        pre_save.connect(_before_save, sender=model, dispatch_uid="audit")
        post_save.connect(_after_save, sender=model, dispatch_uid="audit")
        pre_delete.connect(_before_delete, sender=model, dispatch_uid="audit")
    querysets.watch(_BulkWatcher())


def _before_save(
    sender: type[Model],
    instance: Model,
    raw: bool,
    using: str,
    update_fields: Collection[str] | None,
    **_: Any,
) -> None:
    """Keep the stored row's values beside the one that is about to take its place."""
    instance.__dict__.pop(_BEFORE, None)  # of an attempt that failed
    if raw or _is_new(instance):
        return
    if update_fields is None or not _told(sender).ignores(update_fields):
        stored = sender._base_manager.using(using).filter(pk=instance.pk).first()
        setattr(instance, _BEFORE, None if stored is None else _values(stored))


def _after_save(
    sender: type[Model],
    instance: Model,
    created: bool,
    raw: bool,
    using: str,
    update_fields: Collection[str] | None,
    **_: Any,
) -> None:
    before: Values | None = instance.__dict__.pop(_BEFORE, None)
    if raw:  # a fixture: rows as they were elsewhere, their log beside them
        return
    if created:
        events.write([_created(instance)])
    elif before is not None:
        after = _values(_as_stored(instance, using))
        written = _only_written(before, after, _field_names(sender, update_fields))
        events.write(_changed(instance, before, written))


def _before_delete(sender: type[Model], instance: Model, **_: Any) -> None:
    """Record a deletion, while there still is what the row is named after."""
    told = _told(sender)
    was = _shown(told, _values(instance))
    names = [name for name in was if was[name] is not None and name not in told.noise]
    events.write([_event("deleted", instance, values.written(names, was, {}))])


class _BulkWatcher:
    def before_update(self, rows: QuerySet[Any]) -> dict[Any, Model]:
        ids = list(rows.order_by().values_list("pk", flat=True))
        return _rows(rows.model, ids, rows.db)

    def after_update(self, model: type[Model], before: dict[Any, Model], using: str) -> None:
        after = _rows(model, list(before), using)
        found = [
            each
            for pk, row in after.items()
            for each in _changed(row, _values(before[pk]), _values(row))
        ]
        events.write(found)

    def after_create(self, rows: Iterable[Model]) -> None:
        events.write([_created(row) for row in rows])


def _rows(model: type[Model], ids: Collection[Any], using: str) -> dict[Any, Model]:
    return {row.pk: row for row in model._base_manager.using(using).filter(pk__in=ids)}


def _created(row: Model) -> AuditEvent:
    told = _told(type(row))
    now = _shown(told, _values(row))
    names = [name for name in now if now[name] is not None and name not in told.noise]
    return _event("created", row, values.written(names, {}, now))


def _changed(row: Model, before: Values, after: Values) -> list[AuditEvent]:
    """Return the event of a change; none if nothing changed that is told."""
    told = _told(type(row))
    names = [name for name in after if before[name] != after[name] and name not in told.noise]
    if not names:
        return []
    return [
        _event("changed", row, values.written(names, _shown(told, before), _shown(told, after)))
    ]


def _event(verb: str, row: Model, changes: str) -> AuditEvent:
    told = _told(type(row))
    about = (told.name, row.pk, _name(row))
    return events.event(f"{told.name}.{verb}", _owner(row), about, changes=changes)


def _shown(told: Recorded, found: Mapping[str, Any]) -> Values:
    return {
        name: values.mask(value) if name in told.secret else values.plain(value)
        for name, value in found.items()
        if value != ""
    }


def _values(row: Model) -> Values:
    """Return the row's columns by field, as the database gives them back."""
    return {field.name: _normal(field, row) for field in row._meta.concrete_fields}


def _normal(field: Any, row: Model) -> Any:
    value = getattr(row, field.attname)
    if isinstance(value, memoryview):
        return bytes(value)
    try:
        return field.to_python(value)
    except (ValidationError, TypeError):
        return value


def _as_stored(row: Model, using: str) -> Model:
    """Return the row, read again where it holds expressions instead of values."""
    held = (getattr(row, field.attname) for field in row._meta.concrete_fields)
    if any(hasattr(value, "resolve_expression") for value in held):
        return type(row)._base_manager.using(using).get(pk=row.pk)
    return row


def _only_written(before: Values, after: Values, update_fields: Collection[str] | None) -> Values:
    if update_fields is None:
        return after
    return {name: after[name] if name in update_fields else before[name] for name in after}


def _field_names(
    model: type[Model], update_fields: Collection[str] | None
) -> Collection[str] | None:
    """Return the fields by their names: `save` takes their columns' names, too."""
    if update_fields is None:
        return None
    by_column = {field.attname: field.name for field in model._meta.concrete_fields}
    return {by_column.get(name, name) for name in update_fields}


def _is_new(row: Model) -> bool:
    """Tell whether no row of this key can be stored yet."""
    return row.pk is None or (row._state.adding and row._meta.pk.has_default())


def _told(model: type[Model]) -> Recorded:
    told = registry.of(model)
    assert told is not None  # only such models are connected
    return told


def _owner(row: Model) -> int | None:
    try:
        return ownership.owner_id(row) if ownership.paths(type(row)) else None
    except ObjectDoesNotExist:
        return None


def _name(row: Model) -> str:
    named_by = _told(type(row)).named_by
    try:
        with translation.override(None):  # as the log is written
            return str(getattr(row, named_by) if named_by else row)
    except ObjectDoesNotExist:
        return str(row.pk)
