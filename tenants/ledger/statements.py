"""Do what every look of the ingester does by statements of the models' own names.

Building such a statement costs Django several times what the database takes for it, and each look at each
spool needs them: each is built once. What is rare goes through Django.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from tenants.ledger.adapters import Adapter, adapter
from tenants.models import ApiKey, DirtyHour, SpoolPosition, UsageRow


def move_position(position: SpoolPosition, names: Sequence[str], former: Mapping[str, Any]) -> bool:
    """Save these fields of a stored position that still has its `former` values; return whether it had."""
    database = _database()
    sql = _update(database, SpoolPosition, tuple(names), ("id", *former))
    adapters = _adapters(database, SpoolPosition)
    values = [
        value if (adapt := adapters[name]) is None else adapt(value)
        for name, value in (
            *((name, getattr(position, name)) for name in names),
            ("id", position.pk),
            *former.items(),
        )
    ]
    with database.cursor() as cursor:
        cursor.execute(sql, values)
        return bool(cursor.rowcount)


def touch_keys(latest: Mapping[int, datetime]) -> None:
    """Note when keys were last used, in the order of their numbers."""
    database = _database()
    sql, adapt = _touch(database), _adapters(database, ApiKey)["last_used_at"]
    with database.cursor() as cursor:
        for key, at in sorted(latest.items()):
            instant = at if adapt is None else adapt(at)
            cursor.execute(sql, [instant, key, instant])


def has_any_row(ids: Sequence[UUID]) -> bool:
    """Tell whether the ledger has any of these rows."""
    database = _database()
    is_native = database.features.has_native_uuid_field
    sql = f"{_select(database, UsageRow, ('1',), 'id')} ({_places(len(ids))}) LIMIT 1"
    with database.cursor() as cursor:
        cursor.execute(sql, list(ids) if is_native else [one.hex for one in ids])
        return cursor.fetchone() is not None


def select(
    model: type[models.Model], columns: Sequence[str], among: str, numbers: Iterable[int]
) -> list[Any]:
    """Return these columns, of numbers and texts, of the rows whose column `among` is one of the numbers."""
    wanted = sorted(numbers)
    if not wanted:
        return []
    database = _database()
    sql = f"{_select(database, model, tuple(columns), among)} ({_places(len(wanted))})"
    with database.cursor() as cursor:
        cursor.execute(sql, wanted)
        return list(cursor.fetchall())


def mark_hours(hours: Iterable[tuple[int, datetime]]) -> None:
    """Mark hours of tenants, whose sums are to be made anew."""
    database = _database()
    sql, adapt = _mark(database), _adapters(database, DirtyHour)["hour"]
    marks = [(tenant, hour if adapt is None else adapt(hour)) for tenant, hour in hours]
    with database.cursor() as cursor:
        cursor.executemany(sql, marks)


def _database() -> BaseDatabaseWrapper:
    """Return the connection itself, not the proxy that looks it up for each attribute."""
    return connections[DEFAULT_DB_ALIAS]


def _places(count: int) -> str:
    return ", ".join(["%s"] * count)


@lru_cache(maxsize=8)
def _update(
    database: BaseDatabaseWrapper,
    model: type[models.Model],
    names: tuple[str, ...],
    where: tuple[str, ...],
) -> str:
    quote = database.ops.quote_name
    sets, holds = ([f"{quote(name)} = %s" for name in some] for some in (names, where))
    table = _table(database, model)
    return f"UPDATE {table} SET {', '.join(sets)} WHERE {' AND '.join(holds)}"  # noqa: S608  # our names


@lru_cache(maxsize=8)
def _touch(database: BaseDatabaseWrapper) -> str:
    used = database.ops.quote_name("last_used_at")
    return (
        f"UPDATE {_table(database, ApiKey)} SET {used} = %s "  # noqa: S608  # our names
        f"WHERE id = %s AND ({used} IS NULL OR {used} < %s)"
    )


@lru_cache(maxsize=32)
def _select(
    database: BaseDatabaseWrapper, model: type[models.Model], columns: tuple[str, ...], among: str
) -> str:
    """Return the statement up to the values that the column `among` may have."""
    table = _table(database, model)
    return f"SELECT {', '.join(columns)} FROM {table} WHERE {among} IN"  # noqa: S608  # our names


@lru_cache(maxsize=8)
def _mark(database: BaseDatabaseWrapper) -> str:
    table = _table(database, DirtyHour)
    return f"INSERT INTO {table} (tenant_id, hour) VALUES (%s, %s)"  # noqa: S608  # our names


def _table(database: BaseDatabaseWrapper, model: type[models.Model]) -> str:
    return database.ops.quote_name(model._meta.db_table)


@lru_cache(maxsize=32)
def _adapters(
    database: BaseDatabaseWrapper, model: type[models.Model]
) -> dict[str, Adapter | None]:
    """Return how values of a model's columns are adapted to the driver, by column."""
    return {field.column or "": adapter(field, database) for field in model._meta.concrete_fields}
