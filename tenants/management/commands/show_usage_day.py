"""show_usage_day: one usage day in whole."""

from __future__ import annotations

from tenants.api.use import DayRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = DayRows
