"""Read how far back sums by model reach, and which hours they do not know yet, once for all who ask."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet, Value

from tenants.models import SumsBackfill

_BY_MODEL = SumsBackfill.objects.filter(sums="model").order_by()


class SumsReach:
    """Keep what is known of it. Copies of a filter share one."""

    __slots__ = ("_is_read", "_reached")

    def __init__(self) -> None:
        self._is_read = False
        self._reached: datetime | None = None

    def has_sums_since(self, start: datetime) -> bool:
        """Tell whether there are sums by model from this instant on; older ones are still being computed."""
        if not self._is_read:
            self._note(_BY_MODEL.values_list("reached", flat=True).first())
        return self._reached is None or self._reached <= start

    def unsummed(self, marks: QuerySet[Any]) -> set[datetime]:
        """Return the hours of these marks, and read the reach by the same query."""
        hours = marks.order_by().values_list("hour", Value(0))
        reached = _BY_MODEL.values_list("reached", Value(1))
        found = list(hours.union(reached))
        self._note(min((at for at, is_reach in found if is_reach), default=None))
        return {at for at, is_reach in found if not is_reach}

    def _note(self, reached: datetime | None) -> None:
        self._is_read, self._reached = True, reached
