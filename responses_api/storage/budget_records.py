"""What is taken of budgets and given back, through the group-commit writer."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.backends.utils import CursorWrapper

from responses_api.storage.writer import writes
from tenants.budgets import leases
from tenants.budgets.leases import Draw, Drawn, GiveBack


@writes(GiveBack)
def _give_back(cursor: CursorWrapper, orders: Sequence[GiveBack]) -> list[None]:
    leases.give_back(orders)
    return [None] * len(orders)


@writes(Draw)
def _draw(cursor: CursorWrapper, orders: Sequence[Draw]) -> list[Drawn]:
    return leases.draw_all(orders)
