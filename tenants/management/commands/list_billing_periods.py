"""list_billing_periods: the billing periods there are."""

from __future__ import annotations

from tenants.api.use import PeriodRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = PeriodRows
    columns = ("tenant", "month", "state", "closed_at", "was_complete")
