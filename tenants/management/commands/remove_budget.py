"""remove_budget: a budget goes."""

from __future__ import annotations

from tenants.api.money import BudgetRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = BudgetRows
