"""show_usage_hour: one usage hour in whole."""

from __future__ import annotations

from tenants.api.use import HourRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = HourRows
