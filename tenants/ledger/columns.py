"""Write rows of the ledger in one statement that the model describes.

Most of a row's columns are numbers, which the database's driver takes as they are. Django's preparation of
each value costs more than everything else a row needs: only columns of other kinds go through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeAlias

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from msgspec import Struct

from tenants.ledger.statements import TAKEN_AS_THEY_ARE
from tenants.models import UsageRow

Field: TypeAlias = "models.Field[Any, Any]"  # at run time Django's class takes no parameters

_FIELDS: tuple[Field, ...] = tuple(UsageRow._meta.concrete_fields)
# Most columns have few different texts in a batch, so that each is looked at once.
REMEMBERED_TEXTS = 500


class InsertPlan(Struct, frozen=True, eq=False):
    """Describe rows that differ in some columns and share the others: their fields, a function that
    takes the former from a row, and those of their values that need adapting, by place."""

    fields: tuple[Field, ...]
    shared: tuple[Field, ...]
    values_of: Callable[[Any], tuple[Any, ...]]
    adapters: tuple[tuple[int, Callable[[Any], Any]], ...]


def insert(rows: Iterable[Mapping[str, Any]], common: Mapping[str, Any]) -> None:
    """Insert rows given by the model's attribute names; all of them share the values in `common`."""
    # The connection itself, not the proxy that looks it up for each attribute.
    database = connections[DEFAULT_DB_ALIAS]
    written = frozenset(
        field.attname
        for field in _FIELDS
        if field.attname in common and not _is_default(field, common[field.attname])
    )
    plan = _plan(database, frozenset(common), written)
    shared_values = [
        field.get_db_prep_save(common[field.attname], database) for field in plan.shared
    ]
    values_of, adapters = plan.values_of, plan.adapters
    parameters = []
    for row in rows:
        values = list(values_of(row))
        for place, adapt in adapters:
            values[place] = adapt(values[place])
        parameters.append(values + shared_values)
    _write(database, plan.fields, parameters)


@lru_cache(maxsize=8)
def _plan(
    database: BaseDatabaseWrapper, common: frozenset[str], written: frozenset[str]
) -> InsertPlan:
    """Plan rows that share the columns in `common`, of which those in `written` are not the defaults."""
    own = tuple(field for field in _FIELDS if field.attname not in common)
    shared = tuple(field for field in _FIELDS if field.attname in written)
    adapters = tuple(
        (place, _adapter(field, database))
        for place, field in enumerate(own)
        if not isinstance(field, TAKEN_AS_THEY_ARE)
    )
    return InsertPlan(own + shared, shared, itemgetter(*(field.attname for field in own)), adapters)


def _is_default(field: Field, value: Any) -> bool:
    """Tell whether the database writes this value by itself."""
    if field.has_db_default():
        return bool(value == field.db_default)
    return value is None


def _write(database: Any, fields: tuple[Field, ...], rows: list[list[Any]]) -> None:
    """Write prepared rows. PostgreSQL takes them by COPY, which costs both sides less than statements do."""
    quote = database.ops.quote_name
    columns = ", ".join(quote(field.column or "") for field in fields)
    table = f"{quote(UsageRow._meta.db_table)} ({columns})"
    with database.cursor() as cursor, database.wrap_database_errors:
        if database.vendor == "postgresql":
            with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            places = ", ".join(["%s"] * len(fields))
            cursor.executemany(f"INSERT INTO {table} VALUES ({places})", rows)  # noqa: S608  # the model's names


def _texts(length: int | None) -> Callable[[str], str]:
    """Return a function that cuts texts to a column and takes out NUL, which PostgreSQL refuses."""

    @lru_cache(REMEMBERED_TEXTS)
    def fit(text: str) -> str:
        return text.replace("\0", "")[:length]

    return fit


def _instants(field: Field, database: BaseDatabaseWrapper) -> Callable[[Any], Any]:
    """Return a function for instants in UTC as Django writes them: in SQLite as text without a zone."""
    if database.vendor != "sqlite":
        return lambda at: at

    def text(at: Any) -> Any:
        if at is None or at.tzinfo is not UTC:
            return field.get_db_prep_save(at, database)
        return at.isoformat(" ")[:-6]  # without its "+00:00"

    return text


def _adapter(field: Field, database: BaseDatabaseWrapper) -> Callable[[Any], Any]:
    """Return the function that turns a value of this field into one for the driver."""
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
