"""Erase and digest rows, a batch in the caller's transaction; no body is ever loaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import Model, Q, QuerySet, TextField
from django.db.models.functions import Cast

from tenants import revision
from tenants.access import ownership
from tenants.deletion import plan
from tenants.deletion.digests import Digester
from tenants.deletion.plan import Erased
from tenants.models import TenantDeletion, UsageRow
from tenants.revision import RevisionedModel

_DIGEST = (
    "UPDATE tenants_usagerow SET end_user = %s, tags = %s, requested_model = %s, tenant_slug = %s "
    "WHERE id = %s"
)


def some(kind: Erased, tenant_id: int, limit: int) -> list[Any]:
    """Return keys of the tenant's rows, locked where another process may be writing them."""
    rows = kind.model._default_manager.filter(**{kind.lookup: tenant_id}).order_by()
    if kind.along is not None:
        rows = rows.select_for_update()
    return list(rows.values_list("pk", flat=True)[:limit])


def erase(kind: Erased, keys: Sequence[Any]) -> int:
    """Delete these rows, what goes along with them, and the console's history of them."""
    if not keys:
        return 0
    if kind.along is not None:
        label, link = kind.along
        _delete(apps.get_model(label)._default_manager.filter(**{f"{link}__in": keys}))
    _forget(kind.model, keys)
    count = _delete(kind.model._default_manager.filter(pk__in=keys))
    if issubclass(kind.model, RevisionedModel):
        revision.bump()
    return count


def forget_history(tenant_id: int) -> int:
    """Delete what the console noted about rows that stay, because it names them."""
    count = 0
    for label in plan.KEPT.keys() - plan.NEVER_LOGGED:
        model = apps.get_model(label)
        owner = ownership.lookup(ownership.paths(model)[0])
        rows = model._default_manager.filter(**{owner: tenant_id}).order_by()
        named = rows.annotate(as_text=Cast("pk", TextField())).values("as_text")
        entries = LogEntry.objects.filter(
            content_type=ContentType.objects.get_for_model(model), object_id__in=named
        )
        count += _delete(entries)
    return count


class Digesting:
    """Goes through a tenant's rows of the ledger by time, and digests those that are not yet."""

    def __init__(self, deletion: TenantDeletion, batch: int) -> None:
        self._tenant_id = deletion.tenant_id
        self._tombstone = deletion.tombstone
        self._digester = Digester(deletion.tenant_id, deletion.tombstone)
        self._batch = batch
        self._reached: tuple[datetime, UUID] | None = None

    def step(self) -> int:
        """Digest some rows; return how many."""
        rows = UsageRow.objects.filter(tenant=self._tenant_id).exclude(tenant_slug=self._tombstone)
        if self._reached is not None:
            at, pk = self._reached
            rows = rows.filter(Q(opened_at__gt=at) | Q(opened_at=at, pk__gt=pk), opened_at__gte=at)
        names = ("pk", "opened_at", *plan.DIGESTED["tenants.UsageRow"])
        found = list(rows.order_by("opened_at", "pk").values(*names)[: self._batch])
        if found:
            self._reached = found[-1]["opened_at"], found[-1]["pk"]
            with connection.cursor() as cursor:
                cursor.executemany(_DIGEST, [self._digested(row) for row in found])
        return len(found)

    def _digested(self, row: dict[str, Any]) -> tuple[Any, ...]:
        new = self._digester.values(row)
        key = UsageRow._meta.pk.get_db_prep_value(row["pk"], connection)
        return (
            new["end_user"],
            json.dumps(new["tags"]),
            new["requested_model"],
            new["tenant_slug"],
            key,
        )


def _forget(model: type[Model], keys: Sequence[Any]) -> None:
    kind = ContentType.objects.get_for_model(model)
    _delete(LogEntry.objects.filter(content_type=kind, object_id__in=[str(key) for key in keys]))


def _delete(rows: QuerySet[Any]) -> int:
    """Delete rows by one statement, without reading what leads to them."""
    return rows._raw_delete(rows.db) or 0
