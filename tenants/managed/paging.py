"""Read rows page by page along an index, from where the page before ended."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import orjson
from django.core.exceptions import ValidationError
from django.db.models import DateTimeField, Model, Q, QuerySet

from tenants.managed.values import could_be_key, instant

M = TypeVar("M", bound=Model)

BAD_CURSOR = "This is not a cursor of this list; begin again without one."


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Rows in their order; `next_cursor` is empty after the last."""

    rows: list[M]
    next_cursor: str


def page(rows: QuerySet[M], order: Sequence[str], cursor: str, limit: int) -> Page[M]:
    """Return the rows after the cursor. `order` ends with a column that no two rows share.

    Raise ValidationError for a cursor of another list, or one that somebody made up; a cursor opens nothing,
    for the rows are those the caller has chosen.
    """
    if cursor:
        rows = rows.filter(_after(rows.model, order, _decode(rows.model, order, cursor)))
    found = list(rows.order_by(*order)[: limit + 1])
    more = len(found) > limit
    shown = found[:limit]
    return Page(shown, _encode(shown[-1], order) if more else "")


def _after(model: type[Model], order: Sequence[str], values: Sequence[Any]) -> Q:
    """Return the condition: later in one column, and equal in those before it."""
    found, equal = Q(), Q()
    for name, value in zip(order, values, strict=True):
        column = name.lstrip("-")
        found |= equal & Q((f"{column}__{'lt' if name.startswith('-') else 'gt'}", value))
        equal &= Q((column, value))
    first = order[0]
    # Says the same of the first column alone, which is what an index can be entered with.
    bound = Q((f"{first.lstrip('-')}__{'lte' if first.startswith('-') else 'gte'}", values[0]))
    return bound & found


def _encode(row: Model, order: Sequence[str]) -> str:
    values = [_plain(getattr(row, name.lstrip("-"))) for name in order]
    text = orjson.dumps([list(order), *values])
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _decode(model: type[Model], order: Sequence[str], cursor: str) -> list[Any]:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        known, *values = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error, UnicodeEncodeError):
        raise ValidationError(BAD_CURSOR) from None
    if known != list(order) or len(values) != len(order):
        raise ValidationError(BAD_CURSOR)
    return [
        _typed(model, name.lstrip("-"), value) for name, value in zip(order, values, strict=True)
    ]


def _typed(model: type[Model], name: str, value: Any) -> Any:
    field: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValidationError(BAD_CURSOR)
    if isinstance(field, DateTimeField):
        return instant(value)
    if not could_be_key(model, name, value):
        raise ValidationError(BAD_CURSOR)
    return value
