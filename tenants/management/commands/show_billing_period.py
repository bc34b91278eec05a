"""show_billing_period: one month of a tenant."""

from __future__ import annotations

from tenants.api.use import PeriodRows, period_usage
from tenants.management.rows import ShownPart, ShowRow


class Command(ShowRow):
    rows = PeriodRows
    parts = (ShownPart("usage", "how many calls it has so far, and their charge", period_usage),)
    routes = ("GET billing-periods/{key}/usage",)
