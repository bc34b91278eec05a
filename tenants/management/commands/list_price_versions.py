"""list_price_versions: the price versions there are."""

from __future__ import annotations

from tenants.api.money import PriceRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = PriceRows
    columns = ("book", "tenant", "provider", "model", "effective_from", "published_at")
