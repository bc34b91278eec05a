"""show_budget: one budget in whole."""

from __future__ import annotations

from tenants.api.money import BudgetRows, standing_of, windows_of
from tenants.management.rows import ShownPart, ShowRow


class Command(ShowRow):
    rows = BudgetRows
    parts = (
        ShownPart("standing", "what is used and left of the running period", standing_of),
        ShownPart("windows", "its newest periods, at most 100", windows_of),
    )
    routes = ("GET budgets/{key}/standing", "GET budgets/{key}/windows")
