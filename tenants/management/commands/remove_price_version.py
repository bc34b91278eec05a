"""remove_price_version: a price version goes."""

from __future__ import annotations

from tenants.api.money import PriceRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = PriceRows
