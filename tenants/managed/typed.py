"""Read values of columns that were typed as text, on a command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import (
    BooleanField,
    CharField,
    DateTimeField,
    Field,
    ForeignKey,
    IntegerField,
    JSONField,
    TextField,
)

from gateway_project.lib import clock, durations
from gateway_project.lib.env import environment
from gateway_project.lib.secret import Secret
from tenants.access.access import Access
from tenants.billing.instants import parsed_instant
from tenants.budgets import dollars
from tenants.managed.naming import find_link
from tenants.models import Tenant

NOTHING = "none"  # says null where a column may be empty
NANO = "_nano"
_WORDS = {"true": True, "yes": True, "false": False, "no": False}


def read(who: Access, field: Field[Any, Any], text: str, tenant: Tenant | None) -> Any:
    """Return what a text says for a column; names are looked up as a row of the tenant would.

    Raise ValidationError.
    """
    if text == NOTHING and field.null:
        return None
    match field:
        case ForeignKey():
            return find_link(who, field.remote_field.model, text, tenant)
        case JSONField():
            return read_list(text) if holds_list(field) else read_json(text)
        case DateTimeField():
            return instant(text)
        case BooleanField():
            return _word(text)
        case IntegerField() if field.name.endswith(NANO):
            return _parsed(dollars.to_nano, text)
        case IntegerField():
            return _parsed(_whole, text)
        case CharField() | TextField():
            return _chosen(field, text)
    raise TypeError(field)  # pragma: no cover  # no managed row has another


def _chosen(field: Field[Any, Any], text: str) -> str:
    """Return a text if it is one of those that the column may have."""
    known = [value for value, _ in field.flatchoices]
    if known and text not in known and not (field.blank and not text):
        raise ValidationError(f"{text[:40]!r} is none of {', '.join(filter(None, known))}.")
    return text


def holds_list(field: Field[Any, Any]) -> bool:
    """Tell whether a column of JSON holds a list."""
    return not isinstance(field.get_default(), dict)


def read_list(text: str) -> list[Any]:
    """Read `a,b`, or a list as JSON; numbers are numbers. Raise ValidationError."""
    if text.startswith(("[", "@")):
        found = read_json(text)
        if not isinstance(found, list):
            raise ValidationError("Write a list.")
        return found
    words = [word.strip() for word in text.split(",") if word.strip()]
    return [int(word) if word.isascii() and word.isdigit() else word for word in words]


def read_json(text: str) -> Any:
    """Read JSON, or that of the file after an @. Raise ValidationError."""
    try:
        return json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except OSError as error:
        raise ValidationError(f"{text[1:]!r} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise ValidationError(f"It is not JSON: {error}.") from None


def instant(text: str, *, is_past: bool = False) -> Any:
    """Read an instant, a date (UTC) or a duration from now on, or ago, such as 30d. Raise ValidationError."""
    try:
        span = durations.parse(text)
        return clock.now() - span if is_past else clock.now() + span
    except ValueError:
        pass
    try:
        return parsed_instant(text, "UTC")
    except ValueError as error:
        example = "24h for so long ago" if is_past else "30d for so long from now"
        raise ValidationError(f"{str(error).rstrip('.')}; or {example}.") from error


def secret(variable: str | None) -> Secret | None:
    """Return the secret that the named variable holds; None if no variable is named."""
    if variable is None:
        return None
    found = environment.secret(variable)
    if found is None:
        raise ValidationError(
            {"secret-env": f"The environment variable {variable} is not set; export it and repeat."}
        )
    return found


def _word(text: str) -> bool:
    if text not in _WORDS:
        raise ValidationError("Write true or false.")
    return _WORDS[text]


def _whole(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 19):
        raise ValueError(f"{text[:40]!r} is not a whole number.")
    return int(text)


def _parsed(convert: Any, text: str) -> Any:
    try:
        return convert(text)
    except ValueError as error:
        raise ValidationError(str(error)) from error
