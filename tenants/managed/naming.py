"""Find rows by what people call them, and say what the rows are called that others point at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import ForeignKey, Model, QuerySet
from django.db.models.constants import LOOKUP_SEP

from tenants.access import ownership
from tenants.access.access import Access
from tenants.managed.resource import key_of, linkable, named_by
from tenants.managed.values import could_be_key
from tenants.models import ApiKey, Tenant

MOST_KNOWN = 10


def find(
    rows: QuerySet[Any], text: str, tenant: Tenant | None, *, or_platform: bool = False
) -> Any:
    """Return the row with this id or name: of the tenant (with `or_platform` else of the platform), and
    without one of the platform, or the only one there is. Raise ValidationError.
    """
    if len(found := _with_key(rows, text)) == 1 and _is_in_reach(found[0], tenant, or_platform):
        return found[0]
    named = _named(rows, text)
    for part in _parts(named, tenant, or_platform):
        rows_of_part = list(part[:2])
        if len(rows_of_part) > 1:
            raise ValidationError(f"Several are called {text[:100]!r}: give an id, or a tenant.")
        if rows_of_part:
            return rows_of_part[0]
    raise ValidationError(_missing(rows, text, tenant, or_platform))


def find_link(who: Access, model: type[Model], text: str, tenant: Tenant | None) -> Any:
    """Return the row of any model that others may point at: the tenant's own first."""
    return find(linkable(who, model._default_manager.all()), text, tenant, or_platform=True)


def name_of(row: Model) -> str:
    """Return what a row is called within its owner; empty if such rows have no names."""
    columns = named_by(type(row))
    values = (reduce(getattr, column.split(LOOKUP_SEP), row) for column in columns)
    return "/".join(map(str, values))


def names_of_links(rows: Sequence[Model], shown: Iterable[str]) -> list[dict[str, str]]:
    """Return, for each of the rows, the names of what it points at by those of its columns that are shown;
    those of keys also where only their public ids are kept.
    """
    names: list[dict[str, str]] = [{} for _ in rows]
    if not rows:
        return names
    columns, wanted = rows[0]._meta.concrete_fields, set(shown)
    for field in columns:
        if isinstance(field, ForeignKey) and field.name in wanted:
            _add(names, field.name, rows, field.attname, field.remote_field.model, "pk")
    if "key_public_id" in wanted:
        _add(names, "key_public_id", rows, "key_public_id", ApiKey, "public_id")
    return names


def _add(
    names: list[dict[str, str]],
    column: str,
    rows: Sequence[Model],
    attribute: str,
    model: type[Model],
    key: str,
) -> None:
    if not named_by(model):
        return
    keys = {value for row in rows if (value := getattr(row, attribute)) not in {None, ""}}
    beside = [
        column.rpartition(LOOKUP_SEP)[0] for column in named_by(model) if LOOKUP_SEP in column
    ]
    related = model._default_manager.filter(**{f"{key}__in": keys}).select_related(*beside)
    known = {getattr(each, key): name_of(each) for each in (related if keys else ())}
    for row, told in zip(rows, names, strict=True):
        if (name := known.get(getattr(row, attribute))) is not None:
            told[column] = name


def _with_key(rows: QuerySet[Any], text: str) -> list[Any]:
    key = key_of(rows.model)
    return list(rows.filter(**{key: text})[:1]) if could_be_key(rows.model, key, text) else []


def _named(rows: QuerySet[Any], text: str) -> QuerySet[Any]:
    columns = named_by(rows.model)
    words = text.split("/", len(columns) - 1)
    if not columns or len(words) != len(columns) or "\0" in text:
        return rows.none()
    return rows.filter(**dict(zip(columns, words, strict=True))).order_by("pk")


def _parts(
    rows: QuerySet[Any], tenant: Tenant | None, or_platform: bool
) -> Iterable[QuerySet[Any]]:
    """Return where to look, one after another."""
    paths = ownership.paths(rows.model)
    if not paths or rows.model is Tenant:
        return [rows]
    owner = ownership.lookup(paths[0])
    of_platform = rows.filter(**{f"{owner}__isnull": True})
    if tenant is None:
        return [of_platform, rows]
    own = rows.filter(**{owner: tenant})
    return [own, of_platform] if or_platform else [own]


def _is_in_reach(row: Model, tenant: Tenant | None, or_platform: bool) -> bool:
    if tenant is None or not ownership.paths(type(row)) or isinstance(row, Tenant):
        return True
    owner = ownership.owner_id(row)
    return owner == tenant.pk or (or_platform and owner is None)


def _missing(rows: QuerySet[Any], text: str, tenant: Tenant | None, or_platform: bool) -> str:
    what = f"There is no {rows.model._meta.verbose_name} {text[:100]!r}"
    place = f"{what} of {tenant.slug!r}" if tenant is not None else what
    if not named_by(rows.model):
        return f"{place}."
    seen: dict[str, None] = {}  # in their order, each once
    for part in _parts(rows, tenant, or_platform):
        seen |= dict.fromkeys(name_of(row) for row in part.order_by("-pk")[:MOST_KNOWN])
    known = ", ".join([*seen][:MOST_KNOWN])
    return f"{place}. Known ones: {known or 'none yet'}."


def names_of_ids(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return, for each of some objects, the names of its `tenant` and its `key`, a public id."""
    tenants = dict(
        Tenant.objects.filter(
            pk__in={row["tenant"] for row in rows if isinstance(row.get("tenant"), int)}
        ).values_list("pk", "slug")
    )
    keys = dict(
        ApiKey.objects.filter(
            public_id__in={row["key"] for row in rows if row.get("key")}
        ).values_list("public_id", "name")
    )
    return [
        {
            **({"tenant": tenants[row["tenant"]]} if row.get("tenant") in tenants else {}),
            **({"key": keys[row["key"]]} if row.get("key") in keys else {}),
        }
        for row in rows
    ]
