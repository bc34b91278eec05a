"""Put the models behind an alias into another order of tiers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from django.core.exceptions import PermissionDenied, ValidationError

from gateway_project.lib.db import durable_transaction
from routing.managed import ALIASES, TARGETS
from routing.models import Alias, Target
from tenants.access.access import Access

Tiers = list[list[Target]]


def put_in_order(who: Access, alias: Alias, keys: Sequence[int]) -> None:
    """Let the targets be tried in this order; `keys` are all that they may see of them. Those that share a
    tier and stand side by side go on sharing it.

    Raise PermissionDenied, or ValidationError for keys that are not those. Targets that are not shown to
    them are tried after these, as before.
    """
    with durable_transaction():
        shown, hidden = _locked(who, alias)
        by_key = {row.pk: row for row in shown}
        if sorted(keys) != sorted(by_key):
            raise ValidationError(
                {"targets": "Name each target of the alias once; another may have come meanwhile."}
            )
        _write([*_tiers([by_key[key] for key in keys]), *_tiers(hidden)])


def move(who: Access, alias: Alias, key: int, steps: int) -> None:
    """Let a target be tried earlier (-1) or later (1). One that shares its tier leaves it, for a tier of its
    own beside it; one that is alone passes the tier beside it.

    Raise PermissionDenied.
    """
    with durable_transaction():
        shown, hidden = _locked(who, alias)
        _write([*moved(_tiers(shown), key, steps), *_tiers(hidden)])


def moved(tiers: Tiers, key: int, steps: int) -> Tiers:
    """Return the tiers with one of the targets moved; as they are where it is at the end already."""
    at = next((at for at, tier in enumerate(tiers) if key in {row.pk for row in tier}), None)
    if at is None:
        return tiers
    alone = [row for row in tiers[at] if row.pk == key]
    rest = [row for row in tiers[at] if row.pk != key]
    others = [*tiers[:at], *([rest] if rest else []), *tiers[at + 1 :]]
    beside = at if steps < 0 else at + 1
    place = beside if rest else min(max(at + steps, 0), len(others))
    return [*others[:place], alone, *others[place:]]


def _locked(who: Access, alias: Alias) -> tuple[list[Target], list[Target]]:
    """Return the targets in their order, those they may see and the others. Raise PermissionDenied."""
    if not ALIASES.may(who, "change", alias):
        raise PermissionDenied
    Alias.objects.select_for_update().get(pk=alias.pk)
    rows = Target.objects.filter(alias=alias)
    seen = set(TARGETS.visible(who, rows).values_list("pk", flat=True))
    ordered = list(rows.order_by("position", "pk"))
    shown = [row for row in ordered if row.pk in seen]
    return shown, [row for row in ordered if row.pk not in seen]


def _tiers(rows: Sequence[Target]) -> Tiers:
    """Return targets in tiers: those that stand side by side and have the same position."""
    return [list(tier) for _, tier in groupby(rows, key=lambda row: row.position)]


def _write(tiers: Tiers) -> None:
    for position, tier in enumerate(tiers):
        for row in tier:
            if row.position != position:
                row.position = position
                row.save(update_fields=["position"])
