"""Write rows of the ledger in one statement that the model describes.

Most of a row's columns are numbers, which the database's driver takes as they are. Only columns of other
kinds are looked at (adapters.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from msgspec import Struct

from tenants.ledger.adapters import Adapter, Field, adapter
from tenants.models import UsageRow

_FIELDS: tuple[Field, ...] = tuple(UsageRow._meta.concrete_fields)


class InsertPlan(Struct, frozen=True, eq=False):
    """Describe rows that differ in some columns and share the others: the statement, a function that takes
    the former from a row, those of their values that need adapting, by place, and the shared ones, by
    name."""

    sql: str
    values_of: Callable[[Any], tuple[Any, ...]]
    adapters: tuple[tuple[int, Adapter], ...]
    shared: tuple[tuple[str, Adapter | None], ...]


def insert(rows: Iterable[Mapping[str, Any]], common: Mapping[str, Any]) -> None:
    """Insert rows given by the model's attribute names; all of them share the values in `common`."""
    # The connection itself, not the proxy that looks it up for each attribute.
    database = connections[DEFAULT_DB_ALIAS]
    written = frozenset(name for name, value in common.items() if not _is_default(name, value))
    plan = _plan(database, frozenset(common), written)
    shared_values = [
        common[name] if adapt is None else adapt(common[name]) for name, adapt in plan.shared
    ]
    values_of, adapters = plan.values_of, plan.adapters
    parameters = []
    for row in rows:
        values = list(values_of(row))
        for place, adapt in adapters:
            values[place] = adapt(values[place])
        parameters.append(values + shared_values)
    _write(database, plan.sql, parameters)


@lru_cache(maxsize=8)
def _plan(
    database: BaseDatabaseWrapper, common: frozenset[str], written: frozenset[str]
) -> InsertPlan:
    """Plan rows that share the columns in `common`, of which those in `written` are not the defaults."""
    own = tuple(field for field in _FIELDS if field.attname not in common)
    shared = tuple(field for field in _FIELDS if field.attname in written)
    adapters = tuple((place, adapter(field, database)) for place, field in enumerate(own))
    return InsertPlan(
        _sql(database, own + shared),
        itemgetter(*(field.attname for field in own)),
        tuple((place, adapt) for place, adapt in adapters if adapt is not None),
        tuple((field.attname, adapter(field, database)) for field in shared),
    )


def _is_default(name: str, value: Any) -> bool:
    """Tell whether the database writes this value by itself."""
    has_default, default = _defaults()[name]
    return bool(value == default) if has_default else value is None


@lru_cache(maxsize=1)
def _defaults() -> dict[str, tuple[bool, Any]]:
    """Return for each column whether the database has a default for it, and that."""
    return {
        field.attname: (field.has_db_default(), getattr(field, "db_default", None))
        for field in _FIELDS
    }


def _sql(database: Any, fields: tuple[Field, ...]) -> str:
    """Return the statement for rows of these columns. PostgreSQL takes them by COPY, which costs both sides
    less than statements do."""
    quote = database.ops.quote_name
    columns = ", ".join(quote(field.column or "") for field in fields)
    table = f"{quote(UsageRow._meta.db_table)} ({columns})"
    if database.vendor == "postgresql":
        return f"COPY {table} FROM STDIN"
    places = ", ".join(["%s"] * len(fields))
    return f"INSERT INTO {table} VALUES ({places})"  # noqa: S608  # the model's names


def _write(database: Any, sql: str, rows: list[list[Any]]) -> None:
    with database.cursor() as cursor, database.wrap_database_errors:
        if database.vendor == "postgresql":
            with cursor.copy(sql) as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            cursor.executemany(sql, rows)
