"""Read wire JSON with care: its fields may be missing, null or of another type than promised."""

from __future__ import annotations

from typing import Any

import orjson

from gateway_project.lib.json import Json

OUTPUT_LIMITS = ("max_output_tokens", "max_completion_tokens", "max_tokens")


def parse(data: bytes) -> Json | None:
    """Parse the object in `data`; None if there is none."""
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def number(value: Any) -> int:
    """Return a number that tells parts apart; the first one if it is missing."""
    return value if isinstance(value, int) else 0


def mapping(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def dicts(value: Any) -> list[Json]:
    """Keep the objects of a list; anything else in it, or instead of it, is left out."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def output_limit(body: Json) -> int | None:
    """Read the most output tokens a body allows. Where it has several limits the largest counts: an upstream
    may know only that one."""
    limit = None
    for name in OUTPUT_LIMITS:
        value = body.get(name)
        if isinstance(value, int) and (limit is None or value > limit):
            limit = value
    return limit


def compact(value: Any) -> str:
    """Write JSON text without spaces, as a tool call's arguments are."""
    return orjson.dumps(value).decode()
