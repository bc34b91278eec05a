"""add_price_version: a new price version."""

from __future__ import annotations

from tenants.api.money import PriceRows
from tenants.management.rows import AddRow


class Command(AddRow):
    rows = PriceRows
