"""Find what is deleted together with a row, and whether all of it is the person's own.

Django collects dependants with the models' base managers, past any scope.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib.admin.utils import NestedObjects
from django.db import router
from django.db.models import Model, QuerySet

from tenants.access import ownership
from tenants.access.access import Access


def reaches_beyond(rows: Sequence[Model] | QuerySet[Model], access: Access) -> bool:
    """Tell whether deleting these rows would remove, or is blocked by, a row that is not the person's."""
    return any(not _is_own(row, access) for row in _dependants(rows))


def _dependants(rows: Sequence[Model] | QuerySet[Model]) -> set[Model]:
    """Return the rows themselves and everything that goes with them or protects them."""
    if not rows:
        return set()
    collector = NestedObjects(using=router.db_for_write(type(rows[0])), origin=rows)
    collector.collect(rows)
    return collector.protected.union(*collector.model_objs.values())


def _is_own(row: Model, access: Access) -> bool:
    if not ownership.paths(type(row)):
        return False
    return ownership.owner_id(row) in access.tenants and ownership.stray_link(row) is None
