"""Find the tenant a row belongs to by following its foreign keys.

A path is the foreign keys from a model to Tenant. A model may have several: the shortest, and among
equals the one declared first, says who owns the row; the others lead to rows it uses, which must be the
platform's or the same tenant's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from typing import Any, TypeVar

from django.db.models import ForeignKey, Model, Q, QuerySet

from tenants.models import Tenant

Row = TypeVar("Row", bound=Model)
Path = tuple["ForeignKey[Any, Any]", ...]


def paths(model: type[Model]) -> tuple[Path, ...]:
    """Return every path to Tenant, the owner's first; none if no tenant owns the model. Tenant's own is
    empty.
    """
    return _sorted_paths(model)


@cache
def _sorted_paths(model: Any) -> tuple[Path, ...]:
    return tuple(sorted(_walk(model, frozenset()), key=len))


def _walk(model: type[Model], seen: frozenset[type[Model]]) -> Iterator[Path]:
    if model is Tenant:
        yield ()
        return
    for field in model._meta.concrete_fields:
        if isinstance(field, ForeignKey) and field.related_model not in seen:
            further = _walk(field.related_model, seen | {model})
            yield from ((field, *path) for path in further)


def lookup(path: Path) -> str:
    """Return the path as a query names it."""
    return "__".join(field.name for field in path) or "pk"


def owner_id(row: Model) -> int | None:
    """Return the tenant a row belongs to; None for the platform's (and for a row not attached yet)."""
    return _tenant_id(row, paths(type(row))[0])


def stray_link(row: Model) -> str | None:
    """Return the foreign key through which a row uses something of another tenant; None if there is none."""
    owner = owner_id(row)
    for path in paths(type(row))[1:]:
        if _tenant_id(row, path) not in {None, owner}:
            return path[0].name
    return None


def rows_of(rows: QuerySet[Row], tenants: Collection[int], *, platform: bool) -> QuerySet[Row]:
    """Return the rows that belong to the tenants, and on request to the platform.

    A row that uses something of another tenant is left out whoever owns it: it cannot be shown without
    showing that. There should be none; nothing here relies on it.
    """
    owner, *others = (lookup(path) for path in paths(rows.model))
    rows = rows.filter(_within(owner, tenants, or_none=platform))
    for other in others:
        rows = rows.filter(_within(other, tenants, or_none=True))
    return rows


def _within(path: str, tenants: Collection[int], *, or_none: bool) -> Q:
    mine = Q((f"{path}__in", tenants))
    return mine | Q((f"{path}__isnull", True)) if or_none else mine


def _tenant_id(row: Model, path: Path) -> int | None:
    held: Any = row
    for field in path[:-1]:
        # An unsaved parent sits on its child without an id, so the object is asked for, not the id.
        if not field.is_cached(held) and getattr(held, field.attname) is None:
            return None
        held = getattr(held, field.name)
        if held is None:
            return None
    found: int | None = getattr(held, path[-1].attname) if path else row.pk
    return found
