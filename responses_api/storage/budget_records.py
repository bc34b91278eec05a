"""What is taken of budgets and given back, through the group-commit writer."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.backends.utils import CursorWrapper

from responses_api.storage.writer import writes
from tenants.budgets import leases
from tenants.budgets.leases import Draw, Drawn, GiveBack, Order


@writes(Draw, GiveBack)
def _carry_out(cursor: CursorWrapper, orders: Sequence[Order]) -> list[Drawn | None]:
    return leases.carry_out(orders)
