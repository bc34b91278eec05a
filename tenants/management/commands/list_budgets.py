"""list_budgets: the budgets there are."""

from __future__ import annotations

from tenants.api.money import BudgetRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = BudgetRows
    columns = ("tenant", "api_key", "name", "amount_nano", "period", "mode", "enabled")
