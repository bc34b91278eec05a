"""Turn values of columns into those that a database's driver takes, as Django would.

Django's own preparation looks at each value anew, which costs more than everything else a row needs; here it
is decided once for each column.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from functools import lru_cache
from typing import Any, TypeAlias

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

Field: TypeAlias = "models.Field[Any, Any]"  # at run time Django's class takes no parameters
Adapter = Callable[[Any], Any]

# Drivers take these as they are; a foreign key here is the number of a row.
_TAKEN_AS_THEY_ARE = (models.IntegerField, models.BooleanField, models.ForeignKey)
# Most columns have few different texts in a batch, so that each is looked at once.
REMEMBERED_TEXTS = 500


def adapter(field: Field, database: BaseDatabaseWrapper) -> Adapter | None:
    """Return the function that turns a value of this field into one for the driver; None if the driver
    takes it as it is."""
    if isinstance(field, _TAKEN_AS_THEY_ARE):
        return None
    if isinstance(field, models.CharField):
        return _texts(field.max_length)
    if isinstance(field, models.DateTimeField) and database.timezone is UTC:
        return _instants(field, database)
    if isinstance(field, models.UUIDField):
        is_native = database.features.has_native_uuid_field
        return lambda value: value if is_native or value is None else value.hex
    if isinstance(field, models.JSONField):
        nothing = None if field.null else field.get_db_prep_save({}, database)
        return lambda value: field.get_db_prep_save(value, database) if value else nothing
    return lambda value: field.get_db_prep_save(value, database)


def _texts(length: int | None) -> Adapter:
    """Return a function that cuts texts to a column and takes out NUL, which PostgreSQL refuses."""

    @lru_cache(REMEMBERED_TEXTS)
    def fit(text: str) -> str:
        return text.replace("\0", "")[:length]

    return fit


def _instants(field: Field, database: BaseDatabaseWrapper) -> Adapter:
    """Return a function for instants in UTC as Django writes them: in SQLite as text without a zone."""
    if database.vendor != "sqlite":
        return lambda at: at

    def text(at: Any) -> Any:
        if at is None or at.tzinfo is not UTC:
            return field.get_db_prep_save(at, database)
        return at.isoformat(" ")[:-6]  # without its "+00:00"

    return text
