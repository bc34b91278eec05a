"""set_price_version: other values for a price version."""

from __future__ import annotations

from tenants.api.money import PriceRows
from tenants.management.rows import SetRow


class Command(SetRow):
    rows = PriceRows
