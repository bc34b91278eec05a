"""Put the models behind an alias into another order."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.exceptions import PermissionDenied, ValidationError

from gateway_project.lib.db import durable_transaction
from routing.managed import ALIASES, TARGETS
from routing.models import Alias, Target
from tenants.access.access import Access


def put_in_order(who: Access, alias: Alias, keys: Sequence[int]) -> None:
    """Let the targets be tried in this order; `keys` are all that they may see of them.

    Raise PermissionDenied, or ValidationError for keys that are not those. Targets that are not shown to
    them are tried after these, as before.
    """
    if not ALIASES.may(who, "change", alias):
        raise PermissionDenied
    with durable_transaction():
        Alias.objects.select_for_update().get(pk=alias.pk)
        rows = list(Target.objects.filter(alias=alias).order_by("position", "pk"))
        shown = set(
            TARGETS.visible(who, Target.objects.filter(alias=alias)).values_list("pk", flat=True)
        )
        if sorted(keys) != sorted(shown):
            raise ValidationError(
                {"targets": "Name each target of the alias once; another may have come meanwhile."}
            )
        by_key = {row.pk: row for row in rows}
        hidden = [row for row in rows if row.pk not in shown]
        for position, row in enumerate([*(by_key[key] for key in keys), *hidden]):
            if row.position != position:
                row.position = position
                row.save(update_fields=["position"])


def moved(keys: Sequence[int], key: int, steps: int) -> list[int]:
    """Return the keys with one of them moved up (-1) or down (1); as they are at the ends."""
    order = list(keys)
    if key not in order:
        return order
    place = order.index(key)
    order.insert(max(0, place + steps), order.pop(place))
    return order
