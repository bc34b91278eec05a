"""Sums of units beside tokens, which rows and sums keep in JSON, computed within the database.

Nothing is asked while the registry has token classes alone (tenants/units.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from tenants import units


def of_rows(rows: QuerySet[Any], *by: str) -> Iterator[tuple[Any, ...]]:
    """Sum rows: for each group by these columns and each unit the group, the unit's name, quantity and
    charge.
    """
    return _summed(rows, by, ("quantity", "charge"))


def of_sums(sums: QuerySet[Any], *by: str) -> Iterator[tuple[Any, ...]]:
    """Sum rows of UsageHour or UsageDay likewise, without the charge."""
    return _summed(sums, by, ("total",))


def _summed(
    rows: QuerySet[Any], by: tuple[str, ...], figures: tuple[str, ...]
) -> Iterator[tuple[Any, ...]]:
    if not units.beside_tokens():
        return
    with_units = rows.filter(units__isnull=False).order_by()
    columns = [*by, "units"]
    inner, parameters = with_units.values_list(*columns).query.sql_with_params()
    # The inner query's columns by place, because some are expressions.
    names = [f"g{place}" for place in range(len(by))]
    each, values = exploded("t.units")
    sums = ", ".join(f"SUM({values[figure]})" for figure in figures)
    groups = ", ".join([*names, "e.key"])
    query = (
        f"WITH t ({', '.join([*names, 'units'])}) AS ({inner}) "  # noqa: S608  # names of this module
        f"SELECT {groups}, {sums} FROM t, {each} GROUP BY {groups}"
    )
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        for row in cursor.fetchall():
            place = len(row) - len(figures)
            yield (*row[:place], *map(int, row[place:]))


def exploded(column: str) -> tuple[str, dict[str, str]]:
    """SQL that makes a row of every unit in a column, called `e`, and the expressions of what is in it: the
    quantity and charge of a ledger row's, the total of a sum's."""
    if connection.vendor == "postgresql":
        return f"jsonb_each({column}) e", {
            "quantity": "(e.value->>0)::bigint",
            "charge": "(e.value->>1)::bigint",
            "total": "(e.value#>>'{}')::bigint",
        }
    return f"json_each({column}) e", {
        "quantity": "json_extract(e.value, '$[0]')",
        "charge": "json_extract(e.value, '$[1]')",
        "total": "e.value",
    }
