"""Put values that somebody sent into the columns of a row: of the right type, storable, and allowed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import (
    BooleanField,
    CharField,
    DateTimeField,
    Field,
    ForeignKey,
    IntegerField,
    JSONField,
    Model,
    TextField,
)
from django.utils.dateparse import parse_datetime

from tenants.access.access import Access
from tenants.managed.resource import Resource, Values, key_of, linkable

FIXED = "This is set once, when the row is made."
UNKNOWN = "There is no such field."
NO_NULL = "This may not be null."
FIRST_YEAR, LAST_YEAR = 1970, 9998  # further away, a time zone's offset leaves what databases hold

Errors = dict[str, Any]


def assign(resource: Resource, who: Access, row: Model, values: Values, *, is_new: bool) -> None:
    """Set the columns among the values. Raise ValidationError that names every wrong field."""
    errors: Errors = {}
    for name, value in values.items():
        try:
            if name not in resource.extra:
                _assign(resource, who, row, name, value, is_new=is_new)
        except ValidationError as error:
            errors[name] = error.messages
    if errors:
        raise ValidationError(errors)


def _assign(
    resource: Resource, who: Access, row: Model, name: str, value: Any, *, is_new: bool
) -> None:
    if name not in resource.fields:
        raise ValidationError(UNKNOWN)
    field = row._meta.get_field(name)
    assert isinstance(field, Field)
    before = getattr(row, field.attname)
    if isinstance(field, ForeignKey):
        _link(who, row, field, value)
    else:
        setattr(row, name, cleaned(field, value, row))
    if getattr(row, field.attname) == before:
        return  # a client may send back the whole object
    if not is_new and name in resource.fixed:
        raise ValidationError(FIXED)
    if name in resource.reserved(who, row):
        raise ValidationError(resource.why_reserved(name))


def _link(who: Access, row: Model, field: ForeignKey[Any, Any], value: Any) -> None:
    """Point at a row they may see; one they may not see is answered like one that does not exist."""
    if value is None:
        if not field.null:
            raise ValidationError(NO_NULL)
        setattr(row, field.name, None)
        return
    related: Any = field.remote_field.model
    name = key_of(related)
    key = getattr(value, name) if isinstance(value, Model) else value
    unknown = ValidationError(f"There is no {related._meta.verbose_name} {key!r}.")
    if not _is_of_keys_type(related, name, key) or not could_be_key(related, name, key):
        raise unknown
    found = linkable(who, related._default_manager.all()).filter(**{name: key}).first()
    if found is None:
        raise unknown
    if found.pk != getattr(row, field.attname):
        setattr(row, field.name, found)


def _is_of_keys_type(model: Any, name: str, key: Any) -> bool:
    field = model._meta.pk if name == "pk" else model._meta.get_field(name)
    if isinstance(field, IntegerField):
        return isinstance(key, int) and not isinstance(key, bool)
    return isinstance(key, str | UUID)


def could_be_key(model: Any, name: str, key: Any) -> bool:
    """Tell whether a column of the model could hold this."""
    field = model._meta.pk if name == "pk" else model._meta.get_field(name)
    try:
        field.run_validators(field.to_python(key))
    except (ValidationError, ValueError, TypeError, OverflowError):
        return False
    return "\0" not in str(key)


def cleaned(field: Field[Any, Any], value: Any, row: Model) -> Any:
    """Return a value as the column holds it. Raise ValidationError for one of another type."""
    if value is None and not field.null:
        raise ValidationError(NO_NULL)
    if value is not None:
        value = _of_type(field, value)
    return field.clean(value, row)


def _of_type(field: Field[Any, Any], value: Any) -> Any:
    """Return the value if it is of the field's type: nothing is guessed from another."""
    match field:
        case JSONField():
            _refuse_unstorable(value)
        case DateTimeField():
            return instant(value)
        case BooleanField() if not isinstance(value, bool):
            raise ValidationError("Write true or false.")
        case IntegerField() if isinstance(value, bool) or not isinstance(value, int):
            raise ValidationError("Write a whole number.")
        case CharField() | TextField() if not isinstance(value, str):
            raise ValidationError("Write a text.")
        case CharField() | TextField():
            _refuse_unstorable(value)
    return value


def instant(value: Any) -> datetime:
    """Return an instant of a database's range."""
    try:
        found = parse_datetime(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, datetime) or found.tzinfo is None:
        raise ValidationError("Write an instant with its offset, such as 2026-01-31T12:00:00Z.")
    if not FIRST_YEAR < found.year < LAST_YEAR:
        raise ValidationError(f"Write a year between {FIRST_YEAR + 1} and {LAST_YEAR - 1}.")
    return found.astimezone(UTC)


def _refuse_unstorable(value: Any) -> None:
    """Refuse what a database or JSON has no room for."""
    for each in _leaves(value):
        if isinstance(each, str) and not _is_storable(each):
            raise ValidationError("Text may hold no null character and no half of a character.")
        if isinstance(each, float) and not math.isfinite(each):
            raise ValidationError("Write finite numbers.")


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def _leaves(value: Any) -> Iterator[Any]:
    """Return every value within, keys of objects included, without recursion."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting.extend((*each.keys(), *each.values()))
        elif isinstance(each, list | tuple):
            waiting.extend(each)
        else:
            yield each
