"""Everything that is in the database, as text."""

from __future__ import annotations

import json
from typing import Any

from django.db import connection


def dump() -> dict[str, str]:
    """All rows of every table, by table, in lower case; bytes as they are and in hexadecimal."""
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        return {table: "\n".join(_rows(cursor, table)).lower() for table in tables}


def _rows(cursor: Any, table: str) -> list[str]:
    cursor.execute(f'SELECT * FROM "{table}"')
    return [" | ".join(map(_text, row)) for row in cursor.fetchall()]


def _text(value: Any) -> str:
    if isinstance(value, bytes | memoryview):
        raw = bytes(value)
        return f"{raw.decode('latin-1')} {raw.hex()}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
