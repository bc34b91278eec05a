"""list_prices: the prices that hold now."""

from __future__ import annotations

from routing.api.prices import EffectivePricesView
from tenants.management.questions import AskCommand


class Command(AskCommand):
    help = "List the prices that hold now; for a tenant what it pays."
    view = EffectivePricesView
    columns = (
        "book",
        "provider",
        "model",
        "tenant",
        "kind",
        "input_fresh",
        "cache_read",
        "output_visible",
        "effective_from",
        "unpriced",
    )
    routes = ("GET effective-prices",)
