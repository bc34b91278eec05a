"""Remember which rows were made by applying a file, and say which of these may be pruned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import router
from django.db.models import Model, ProtectedError, RestrictedError
from django.db.models.deletion import Collector

from tenants.configuration.kinds import ConfigurationKind, all_kinds
from tenants.models import AppliedObject

MOST_PER_QUERY = 500


def add(kind: ConfigurationKind, row: Any) -> None:
    AppliedObject.objects.get_or_create(section=kind.section, object_id=str(row.pk))


def drop(kind: ConfigurationKind, pk: Any) -> None:
    AppliedObject.objects.filter(section=kind.section, object_id=str(pk)).delete()


def rows_made(kind: ConfigurationKind, rows: Iterable[Any]) -> list[Any]:
    """Return those of the rows that were made by applying a file, the last one first."""
    if not kind.is_prunable:
        return []
    by_id = {str(row.pk): row for row in rows}
    made: set[str] = set()
    ids = list(by_id)
    for start in range(0, len(ids), MOST_PER_QUERY):
        some = ids[start : start + MOST_PER_QUERY]
        marked = AppliedObject.objects.filter(section=kind.section, object_id__in=some)
        made |= set(marked.values_list("object_id", flat=True))
    return [row for row_id, row in reversed(by_id.items()) if row_id in made]


def reason_to_keep(kind: ConfigurationKind, row: Any) -> str:
    """Say why a row that apply made is not pruned; nothing if it may be.

    What other sections may name goes with no row: it would be removed unlisted, and may be made by hand.
    """
    if reason := kind.reason_to_keep(row):
        return reason
    sections = {each.model: each.section for each in all_kinds()}
    carried = {sections[model] for model in _carried(row) if model in sections}
    return f"{' and '.join(sorted(carried))} of it are still there" if carried else ""


def _carried(row: Any) -> set[type[Model]]:
    """Return the models of rows that would be deleted with this one."""
    collector = Collector(using=router.db_for_write(type(row)), origin=row)
    try:
        collector.collect([row])
    except (ProtectedError, RestrictedError):
        return set()  # it cannot be deleted, which removing says better
    whole = {model for model, rows in collector.data.items() if set(rows) - {row}}
    return whole | {rows.model for rows in collector.fast_deletes if rows.exists()}
