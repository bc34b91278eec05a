"""Write values of rows so that they can be read and hashed, and give no secret away."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.utils import translation

from gateway_project.lib.log import scrub_text

MASKED = "••••"
LONGEST = 1_000  # characters of one value
EMPTY: tuple[Any, ...] = (None, "", b"")


def text(value: object, longest: int = LONGEST) -> str:
    """Return text that every database takes, without what looks like a credential, and not too long."""
    if isinstance(value, str):
        said = str(value)
    else:
        with translation.override(None):  # English, whichever language the person who acts reads
            said = str(value)
    found = scrub_text(said).replace("\0", "\ufffd")
    return found if len(found) <= longest else f"{found[: longest - 1]}…"


def plain(value: Any) -> Any:
    """Return a value as JSON has it; numbers that JSON's readers disagree about become text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return MASKED
    if isinstance(value, dict | list | tuple):
        return _structure(value)
    return text(value)


def instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def mask(value: Any) -> Any:
    """Say of a secret only whether there is one."""
    return None if any(value is nothing or value == nothing for nothing in EMPTY) else MASKED


def canonical(value: Mapping[str, Any]) -> str:
    """Write an object in the one way that is hashed: sorted keys, no spaces, no escapes but JSON's own."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def written(names: Iterable[str], before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return the JSON of what these fields were and are."""
    return canonical({name: [before.get(name), after.get(name)] for name in names})


def _structure(value: Any) -> Any:
    found = text(json.dumps(value, sort_keys=True, ensure_ascii=False, default=str))
    try:
        return json.loads(found, parse_float=str, parse_constant=str)
    except json.JSONDecodeError:  # it was too long, and was cut
        return found


def parsed(written: str) -> Any:
    """Return stored JSON; what somebody has broken is returned as the text it is, so that it can be told."""
    try:
        return json.loads(written)
    except json.JSONDecodeError:
        return written
