"""Find every foreign key whose both sides belong to a tenant, and write what must never hold of it as SQL.

A link is such a foreign key, unless it is the one that says whose its row is. It may lead to a row of the
same tenant or of the platform, and to nothing else. Paths to the tenant are those of
tenants/access/ownership.py, so a new model is walled as soon as it is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from django.apps import apps
from django.db.models import ForeignKey, Model

from tenants.access import ownership
from tenants.access.ownership import Path

# Links that are left out of the walls, by `model.field` in lower case, each with the reason.
EXEMPT = {
    "responses_api.storeditem.response": "every stored call writes several, each of which a trigger would "
    "make half as dear again; queries for items name their tenant too, so a stray one is never read",
}
# Tables whose inserts are not held up to look for rows that lead there already (walls.py, 2), and why.
WRITTEN_FIRST = {
    "responses_api_storedresponse": "every stored call writes one, before whatever leads to it",
}


@dataclass(frozen=True, slots=True)
class Link:
    """A foreign key from a tenant's row to a tenant's or the platform's."""

    child: type[Model]
    field: ForeignKey[Any, Any]

    @property
    def label(self) -> str:
        return f"{self.child._meta.label_lower}.{self.field.name}"

    @property
    def name(self) -> str:
        return f"{self.child._meta.model_name}_{self.field.name}"

    @property
    def owner(self) -> Path:
        return ownership.paths(self.child)[0]

    @property
    def target(self) -> Path:
        return (self.field, *ownership.paths(self.field.related_model)[0])


def owned_models() -> list[type[Model]]:
    """Return every model whose rows belong to a tenant, tables of many-to-many fields included."""
    models = apps.get_models(include_auto_created=True)
    found = (model for model in models if ownership.paths(model) and not model._meta.proxy)
    return sorted(found, key=lambda model: model._meta.db_table)


@cache
def all_links() -> tuple[Link, ...]:
    return tuple(link for model in owned_models() for link in _links_of(model))


def walled() -> list[Link]:
    """Return the links that a wall must stand at."""
    return [link for link in all_links() if link.label not in EXEMPT]


def _links_of(model: type[Model]) -> Iterator[Link]:
    owner = ownership.paths(model)[0]
    keys = (field for field in model._meta.concrete_fields if isinstance(field, ForeignKey))
    for field in keys:
        if field not in owner[:1] and ownership.paths(field.related_model):
            yield Link(model, field)


# As SQL


@dataclass(frozen=True, slots=True)
class Joined:
    """The rows that decide about a link, joined: tables by alias (`c` is the link's own row), and the
    conditions under which it leads to another tenant. `NEW` may stand for one of them.
    """

    tables: dict[str, str]
    keys: dict[str, str]
    conditions: tuple[str, ...]
    owner: str  # the tenant of the link's row
    found: str  # the tenant of the row it leads to

    def refused(self, bound: str) -> str:
        """Return the condition of a trigger on the table of one alias."""
        others = {alias: table for alias, table in self.tables.items() if alias != bound}
        conditions = " AND ".join(self.conditions).replace(f"{bound}.", "NEW.")
        if not others:
            return conditions
        return f"EXISTS (SELECT 1 FROM {_named(others)} WHERE {conditions})"  # noqa: S608

    def strays(self) -> str:
        """Return a query for links that lead to another tenant: row, its tenant, and the other's."""
        return (
            f"SELECT CAST(c.{self.keys['c']} AS text), {self.owner} AS own, {self.found} AS other "  # noqa: S608
            f"FROM {_named(self.tables)} WHERE {' AND '.join(self.conditions)}"
        )


def joined(link: Link) -> Joined:
    """Join what decides about a link."""
    start = Joined(
        {"c": link.child._meta.db_table}, {"c": column_of(link.child._meta.pk)}, (), "", ""
    )
    with_owner, owner = _follow(start, link.owner, "o")
    with_both, found = _follow(with_owner, link.target, "t")
    differs = f"{owner} <> {found}"
    if _may_be_platforms(link.owner):
        differs = f"({owner} IS NULL OR {differs})"
    known = [f"{found} IS NOT NULL"] if _may_be_platforms(link.target) else []
    conditions = (*with_both.conditions, *known, differs)
    return replace(with_both, conditions=conditions, owner=owner, found=found)


def owner_of(model: type[Model], row: str) -> str:
    """Return an expression for the tenant of a row (`OLD` or `NEW`); 0 for the platform."""
    path = ownership.paths(model)[0]
    if len(path) < 2:
        return f"COALESCE({row}.{path[0].column if path else model._meta.pk.column}, 0)"
    chain, owner = _follow(Joined({"c": ""}, {}, (), "", ""), path, "o")
    others = {alias: table for alias, table in chain.tables.items() if alias != "c"}
    conditions = " AND ".join(chain.conditions).replace("c.", f"{row}.")
    return f"COALESCE((SELECT {owner} FROM {_named(others)} WHERE {conditions}), 0)"  # noqa: S608


def _follow(rows: Joined, path: Path, letter: str) -> tuple[Joined, str]:
    """Join the tables of a path; return them with the column that names the tenant."""
    tables, keys, conditions, at = dict(rows.tables), dict(rows.keys), rows.conditions, "c"
    for number, field in enumerate(path[:-1], 1):
        alias = f"{letter}{number}"
        key = column_of(field.target_field)
        tables[alias], keys[alias] = field.related_model._meta.db_table, key
        conditions = (*conditions, f"{alias}.{key} = {at}.{field.column}")
        at = alias
    column = path[-1].column if path else keys["c"]
    return replace(rows, tables=tables, keys=keys, conditions=conditions), f"{at}.{column}"


def column_of(field: Any) -> str:
    """Return the name of a field's column; every field we follow has one."""
    return str(field.column)


def _may_be_platforms(path: Path) -> bool:
    return bool(path) and path[-1].null


def _named(tables: dict[str, str]) -> str:
    return ", ".join(f"{table} {alias}" for alias, table in tables.items())
