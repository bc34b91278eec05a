"""Read what a database must prove: migrations, sums, places in spools, fingerprints of keys, credentials.

Plain SQL, because a backup may be older than the models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct

from tenants.token_classes import TOKEN_CLASSES

Kind = Literal["sqlite", "postgresql"]
Row = Mapping[str, Any]
AMOUNTS = ("charge_nano", "cost_nano")
USAGE = "tenants_usagerow"
_MONTH: dict[Kind, str] = {
    "sqlite": "substr(opened_at, 1, 7)",
    "postgresql": "to_char(opened_at AT TIME ZONE 'UTC', 'YYYY-MM')",
}


class MonthSums(Struct, frozen=True):
    """The ledger's rows of a month (UTC), added up."""

    month: str
    rows: int
    charge_nano: int
    cost_nano: int
    tokens: int


class SpoolPlace(Struct, frozen=True):
    """The file of a spool from which its reader goes on, and whether it was read to its end."""

    file_number: int
    is_done: bool


class Contents(Struct, frozen=True):
    """The facts of a database at one moment. `origin`: when its first migration ran, which names it."""

    origin: str
    migrations: dict[str, list[str]]
    months: list[MonthSums]
    places: dict[str, SpoolPlace]
    fingerprints: list[Row]
    credentials: list[Row]

    @property
    def unfinished_spools(self) -> list[str]:
        return sorted(name for name, place in self.places.items() if not place.is_done)


def read(cursor: Any, kind: Kind) -> Contents:
    """Read through a cursor of SQLite or PostgreSQL; what is large is added up by the database."""
    return Contents(
        **of_rows(
            _rows(cursor, "SELECT * FROM django_migrations ORDER BY id"),
            _rows(cursor, "SELECT * FROM tenants_spoolposition"),
            _rows(cursor, "SELECT * FROM tenants_keyfingerprint"),
            _rows(cursor, "SELECT * FROM routing_credential"),
        ),
        months=sums_by_month(cursor, kind),
    )


def of_rows(
    migrations: Iterable[Row],
    positions: Iterable[Row],
    fingerprints: Iterable[Row],
    credentials: Iterable[Row],
) -> dict[str, Any]:
    """Return the fields of Contents but the sums."""
    applied: dict[str, list[str]] = {}
    origin = ""
    for row in migrations:
        origin = origin or instant(row["applied"]).isoformat()
        applied.setdefault(row["app"], []).append(row["name"])
    return {
        "origin": origin,
        "migrations": applied,
        "places": {
            row["spool"]: SpoolPlace(int(row["low_file_number"]), row["is_done"] in {True, "t"})
            for row in positions
        },
        "fingerprints": list(fingerprints),
        "credentials": list(credentials),
    }


def sums_by_month(cursor: Any, kind: Kind) -> list[MonthSums]:
    cursor.execute(f"SELECT * FROM {USAGE} LIMIT 0")  # noqa: S608
    tokens = " + ".join(token_columns([column[0] for column in cursor.description]))
    cursor.execute(
        f"SELECT {_MONTH[kind]}, count(*), sum(charge_nano), sum(cost_nano), sum({tokens}) "  # noqa: S608
        f"FROM {USAGE} GROUP BY 1 ORDER BY 1"
    )
    return [MonthSums(month, *map(int, sums)) for month, *sums in cursor.fetchall()]


def token_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns of tokens that there are; older versions had fewer."""
    return [name for name in TOKEN_CLASSES if name in columns]


def instant(value: Any) -> datetime:
    """Return a time as either database gives it: SQLite as text in UTC."""
    at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _rows(cursor: Any, query: str) -> list[Row]:
    cursor.execute(query)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
