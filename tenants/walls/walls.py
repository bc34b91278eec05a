"""Turn links into triggers: what the database refuses so that no row leads to another tenant's.

Three kinds of trigger make a wall, whichever code path or SQL comes:

1. A row that leads to another tenant's is not written.
2. A row is not written if one that is there already leads to it from another tenant: a foreign key is
   looked at when the transaction ends, so that rows may come in any order.
3. A row stays with its tenant and keeps its key. So what was within the wall stays within it.

Where both sides always have a tenant, PostgreSQL has composite foreign keys instead of 1 and 2
(composites.py), which also hold against transactions that run at the same time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from gateway_project.lib.applied import has_every_migration
from tenants.access import ownership
from tenants.triggers import Guard, Trigger
from tenants.walls import composites
from tenants.walls.links import (
    WRITTEN_FIRST,
    Link,
    column_of,
    joined,
    owned_models,
    owner_of,
    walled,
)

logger = logging.getLogger("tollgate.isolation")


@cache
def triggers(vendor: str) -> tuple[Trigger, ...]:
    """Return the triggers of all walls, for one kind of database."""
    by_key = composites.labels() if vendor == "postgresql" else frozenset()
    links = [link for link in walled() if link.label not in by_key]
    made = (*_of_links(links), *(_staying(model) for model in owned_models()))
    return tuple(sorted(made, key=lambda trigger: trigger.name))


def strays(connection: BaseDatabaseWrapper, limit: int = 20) -> list[str]:
    """Return a sentence for each stored link that leads to another tenant, of rows older than the walls."""
    proven = composites.validated(connection)
    links = [link for link in walled() if link.label not in proven]
    # One statement: to ask for each link takes longer than to look at it.
    asked = " UNION ALL ".join(
        f"SELECT {place}, s.* FROM ({joined(link).strays()} LIMIT {limit:d}) s"  # noqa: S608
        for place, link in enumerate(links)
    )
    if not asked:
        return []
    with connection.cursor() as cursor:
        cursor.execute(asked)
        found = sorted(cursor.fetchall(), key=lambda row: row[0])
    return [_sentence(links[place], *row) for place, *row in found[:limit]]


def _sentence(link: Link, key: object, owner: int | None, other: int) -> str:
    whose = f"tenant {owner}" if owner else "the platform"
    what = f"{link.child._meta.label} {key} of {whose}"
    return f"{what} leads by {link.field.name!r} to a row of tenant {other}."


def _of_links(links: list[Link]) -> Iterator[Trigger]:
    for link in links:
        rows = joined(link)
        message = (
            f"{link.child.__name__}.{link.field.name} must not lead to a row of another tenant."
        )
        for alias, table in rows.tables.items():
            if alias != "c" and table in WRITTEN_FIRST:
                continue
            condition = rows.refused(alias)
            reads = tuple(sorted({*rows.tables.values()} - {table}))
            subject = link.name if alias != "c" else link.field.name
            if alias not in {"c", "o1", "t1"}:
                subject = f"{subject}_{alias}"
            elif alias == "o1":
                subject = f"{subject}_owner"
            yield Trigger(table, "INSERT", condition, message, reads, subject)
            if alias == "c":
                columns = (column_of(link.field),)
                yield Trigger(table, "UPDATE", condition, message, reads, subject, columns)


def _staying(model: type[Model]) -> Trigger:
    path = ownership.paths(model)[0]
    key = column_of(model._meta.pk)
    owner = column_of(path[0]) if path else key
    moves = f"{owner_of(model, 'OLD')} <> {owner_of(model, 'NEW')}"
    condition = moves if owner == key else f"OLD.{key} <> NEW.{key} OR {moves}"
    reads = tuple(sorted({field.related_model._meta.db_table for field in path[:-1]}))
    message = f"A row of {model.__name__} stays with its tenant and keeps its key."
    columns = tuple(dict.fromkeys((key, owner)))
    return Trigger(model._meta.db_table, "UPDATE", condition, message, reads, "stays", columns)


def _repair(connection: BaseDatabaseWrapper) -> None:
    """Make composite keys that are missing, where the tables are there, and validate what can be."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
    composites.add(connection, [key for key in composites.ALL if {key.table, key.parent} <= tables])


def report_strays(plan: Sequence[Any], using: str, **_: Any) -> None:
    """Receive post_migrate: name what was stored before there were walls, which never stops a migration.

    After `migrate APP` there may be tables still to come: the migration that brings the last one tells.
    """
    if plan and has_every_migration(connections[using]):
        for sentence in strays(connections[using]):
            logger.error("isolation: %s", sentence)


GUARD = Guard(triggers, composites.differences, _repair)
