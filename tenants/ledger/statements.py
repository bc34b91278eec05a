"""Do what every look of the ingester does by statements of the models' own names.

Building such a statement costs Django several times what the database takes for it, and each look at each
spool needs them. What is rare goes through Django.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connection, connections, models

from tenants.models import ApiKey, DirtyHour, SpoolPosition, UsageRow

# Drivers take these as they are; a foreign key here is the number of a row.
TAKEN_AS_THEY_ARE = (models.IntegerField, models.BooleanField, models.ForeignKey)


def move_position(position: SpoolPosition, names: Sequence[str], former: Mapping[str, Any]) -> bool:
    """Save these fields of a stored position that still has its `former` values; return whether it had."""
    changed = {name: getattr(position, name) for name in names}
    where = {"id": position.pk, **former}
    table, sets, holds = _table(SpoolPosition), _equal(changed), _equal(where)
    sql = f"UPDATE {table} SET {', '.join(sets)} WHERE {' AND '.join(holds)}"  # noqa: S608  # our names
    values = [*_prepared(SpoolPosition, changed), *_prepared(SpoolPosition, where)]
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return bool(cursor.rowcount)


def touch_keys(latest: Mapping[int, datetime]) -> None:
    """Note when keys were last used, in the order of their numbers."""
    used = connection.ops.quote_name("last_used_at")
    sql = (
        f"UPDATE {_table(ApiKey)} SET {used} = %s "  # noqa: S608  # our names
        f"WHERE id = %s AND ({used} IS NULL OR {used} < %s)"
    )
    with connection.cursor() as cursor:
        for key, at in sorted(latest.items()):
            (instant,) = _prepared(ApiKey, {"last_used_at": at})
            cursor.execute(sql, [instant, key, instant])


def has_any_row(ids: Sequence[UUID]) -> bool:
    """Tell whether the ledger has any of these rows."""
    is_native = connection.features.has_native_uuid_field
    places = ", ".join(["%s"] * len(ids))
    sql = f"SELECT 1 FROM {_table(UsageRow)} WHERE id IN ({places}) LIMIT 1"  # noqa: S608  # our names
    with connection.cursor() as cursor:
        cursor.execute(sql, list(ids) if is_native else [one.hex for one in ids])
        return cursor.fetchone() is not None


def select(
    model: type[models.Model], columns: Sequence[str], among: str, numbers: Iterable[int]
) -> list[Any]:
    """Return these columns, of numbers and texts, of the rows whose column `among` is one of the numbers."""
    wanted = sorted(numbers)
    if not wanted:
        return []
    places = ", ".join(["%s"] * len(wanted))
    sql = f"SELECT {', '.join(columns)} FROM {_table(model)} WHERE {among} IN ({places})"  # noqa: S608  # our names
    with connection.cursor() as cursor:
        cursor.execute(sql, wanted)
        return list(cursor.fetchall())


def mark_hours(hours: Iterable[tuple[int, datetime]]) -> None:
    """Mark hours of tenants, whose sums are to be made anew."""
    marks = [_prepared(DirtyHour, {"tenant_id": tenant, "hour": hour}) for tenant, hour in hours]
    sql = f"INSERT INTO {_table(DirtyHour)} (tenant_id, hour) VALUES (%s, %s)"  # noqa: S608  # our names
    with connection.cursor() as cursor:
        cursor.executemany(sql, marks)


def _table(model: type[models.Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)


def _equal(values: Mapping[str, Any]) -> list[str]:
    return [f"{connection.ops.quote_name(name)} = %s" for name in values]


def _prepared(model: type[models.Model], values: Mapping[str, Any]) -> list[Any]:
    fields, database = _fields(model), connections[DEFAULT_DB_ALIAS]
    return [
        value
        if isinstance(field := fields[name], TAKEN_AS_THEY_ARE)
        else field.get_db_prep_save(value, database)
        for name, value in values.items()
    ]


@cache
def _fields(model: type[models.Model]) -> dict[str, models.Field[Any, Any]]:
    """Return the fields of a model by their columns."""
    return {field.column or "": field for field in model._meta.concrete_fields}
