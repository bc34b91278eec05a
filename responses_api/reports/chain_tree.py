"""Show a chain of responses as a tree: which continues which, and where it forks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from responses_api.models import StoredResponse

MOST_NODES = 500
_COLUMNS = ("pk", "parent_id", "status", "model", "created_at")

# From a response back to the first one, each of the same tenant.
_WAY_BACK = """
WITH RECURSIVE way (id, parent_id, status, model, created_at, depth) AS (
    SELECT id, parent_id, status, model, created_at, 0
    FROM responses_api_storedresponse WHERE tenant_id = %s AND id = %s
    UNION ALL
    SELECT r.id, r.parent_id, r.status, r.model, r.created_at, way.depth + 1
    FROM responses_api_storedresponse r JOIN way ON r.id = way.parent_id
    WHERE r.tenant_id = %s AND way.depth < %s
)
SELECT id FROM way
"""


@dataclass(frozen=True, slots=True)
class ChainNode:
    """A response in its chain. `level` grows at forks only, so that a long talk stays readable; `is_fork`
    says that its parent was continued more than once."""

    id: str
    parent_id: str
    status: str
    alias: str
    at: datetime
    level: int
    is_fork: bool


@dataclass(frozen=True, slots=True)
class ChainTree:
    """The responses of a chain, each below the one it continues. `is_cut` says that there are more than
    MOST_NODES, and only those are in it that lead to the one looked at."""

    nodes: tuple[ChainNode, ...]
    is_cut: bool


def tree_of(row: StoredResponse) -> ChainTree:
    """Return the tree that a response is in: its tenant's responses alone, in two queries at most."""
    of_tenant = StoredResponse.objects.filter(tenant_id=row.tenant_id).order_by()
    chain = of_tenant.filter(root_id=row.root_id).values_list(*_COLUMNS)
    found = list(chain[: MOST_NODES + 1])
    is_cut = len(found) > MOST_NODES
    if is_cut:
        found = list(of_tenant.filter(pk__in=_way_back(row)).values_list(*_COLUMNS))
    return ChainTree(tuple(_in_order(found)), is_cut)


def _way_back(row: StoredResponse) -> list[str]:
    tenant = row.tenant_id
    with connection.cursor() as cursor:
        cursor.execute(_WAY_BACK, (tenant, row.pk, tenant, MOST_NODES - 1))
        return [pk for (pk,) in cursor.fetchall()]


_Found = tuple[str, str, str, str, datetime]


def _in_order(found: Sequence[_Found]) -> Iterable[ChainNode]:
    """Yield the responses, each followed by what continues it. One whose parent is gone begins a tree."""
    known = {pk for pk, *_rest in found}
    children: dict[str, list[_Found]] = {}
    for each in sorted(found, key=lambda each: (each[4], each[0]), reverse=True):
        pk, parent, *_rest = each
        children.setdefault(parent if parent in known and parent != pk else "", []).append(each)
    # Not by recursion: a chain may be as long as the tree is large.
    waiting = [(each, 0, False) for each in children.get("", ())]
    while waiting:
        (pk, parent, status, alias, at), level, is_fork = waiting.pop()
        yield ChainNode(pk, parent, status, alias, at, level, is_fork)
        further = children.get(pk, ())
        forks = len(further) > 1
        waiting += [(each, level + forks, forks) for each in further]
