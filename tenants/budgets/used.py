"""Tell how much of a caller's budgets is spent, for decisions that need not be exact."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import reduce
from operator import or_

from django.db.models import Q

from tenants.budgets.terms import BudgetTerms
from tenants.budgets.windows import window
from tenants.models import BudgetWindow


def used_percent(budgets: Sequence[BudgetTerms], timestamp: float) -> int | None:
    """Return what is booked in the present periods, in percent of the budget that is used most; rounded
    down, None without a budget. What running calls hold does not count."""
    if not budgets:
        return None
    places = [window(each, timestamp).place for each in budgets]
    present = reduce(
        or_, (Q(budget=pk, starts_at=datetime.fromtimestamp(at, UTC)) for pk, at in places)
    )
    rows = BudgetWindow.objects.filter(present).values_list("spent_nano", "budget__amount_nano")
    return max((100 if not most else spent * 100 // most for spent, most in rows), default=0)
