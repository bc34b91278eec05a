"""Name places in a file of configuration, such as `tenants[0].budgets[1].amount`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied, ValidationError

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
FORBIDDEN = "You may not do this."


def join(place: str, name: str) -> str:
    """Return the place of a field within the place of an object."""
    shown = name if name and set(name) <= _PLAIN else repr(name[:60])
    return f"{place}.{shown}" if place else shown


@contextmanager
def errors_at(place: str, fields: dict[str, str] | None = None) -> Iterator[None]:
    """Let errors within the block name the place; `fields` are columns by their names in the file."""
    try:
        yield
    except PermissionDenied as error:
        raise Placed({place: FORBIDDEN}) from error
    except Placed:
        raise
    except ValidationError as error:
        raise Placed(_by_place(error, place, fields or {})) from error


class Placed(ValidationError):
    """An error that names its place already."""


def _by_place(error: ValidationError, place: str, fields: dict[str, str]) -> dict[str, Any]:
    if not hasattr(error, "error_dict"):
        return {place: error.messages}
    found: dict[str, Any] = {}
    for column, messages in error.message_dict.items():
        name = fields.get(column)
        is_whole = column == NON_FIELD_ERRORS or (fields and name is None)
        where = place if is_whole else join(place, name or column)
        found.setdefault(where, []).extend(messages)
    return found
