"""Tables, indexes, constraints and triggers of databases that were made in different ways, to be compared."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

_NUMBERED = re.compile(r"(\btenants_usagerow_(?:default|\d{4}_\d\d)_\w+_idx)\d+")


def of_sqlite(database: Path) -> set[str]:
    """Return the parts of each table, and the other statements.

    Not the order of columns: where Django changes one, it copies the table, and puts that column and those
    that lead to the same table behind the others.
    """
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    return {
        f"{kind} {name}: {part}"
        for kind, name, sql in found
        for part in _parts(kind, re.sub(r"\s+", " ", sql or "").strip())
    }


def of_postgres(url: str) -> set[str]:
    """Return the statements that pg_dump writes; columns are in their order.

    Without the numbers that PostgreSQL gives to indexes of partitions, by the order in which it finds them.
    """
    dump = subprocess.run(
        ["pg_dump", "--schema-only", "--no-owner", "--no-acl", url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    lines = (line for line in dump.splitlines() if not line.startswith(("--", "\\")))
    text = _NUMBERED.sub(r"\1", "\n".join(lines))
    return {statement.strip() for statement in text.split(";\n")}


def _parts(kind: str, sql: str) -> list[str]:
    if kind != "table":
        return [sql]
    head, body = sql.split("(", 1)
    return [head, *_split(body.rpartition(")")[0])]


def _split(body: str) -> Iterator[str]:
    """Split at the commas that are in no parentheses and no quotes."""
    depth, quote, begin = 0, "", 0
    for place, letter in enumerate(body):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "," and depth == 0:
            yield body[begin:place].strip()
            begin = place + 1
        else:
            depth += {"(": 1, ")": -1}.get(letter, 0)
    yield body[begin:].strip()
