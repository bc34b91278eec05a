"""Careful reading of wire JSON, whose fields may be missing, null or of another type than promised."""

from __future__ import annotations

from typing import Any

import orjson

Json = dict[str, Any]


def parse(data: bytes) -> Json | None:
    """The object in `data`; None if there is none."""
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def number(value: Any) -> int:
    """A number that tells parts apart; the first one if it is missing."""
    return value if isinstance(value, int) else 0


def mapping(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def dicts(value: Any) -> list[Json]:
    """The objects of a list; anything else in it, or instead of it, is left out."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def compact(value: Any) -> str:
    """JSON text without spaces, as a tool call's arguments are written."""
    return orjson.dumps(value).decode()
