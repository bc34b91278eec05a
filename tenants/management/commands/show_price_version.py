"""show_price_version: one price version in whole."""

from __future__ import annotations

from tenants.api.money import PriceRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = PriceRows
