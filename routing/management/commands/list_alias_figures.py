"""list_alias_figures: how aliases are doing."""

from __future__ import annotations

from routing.api.figures import AliasFiguresView
from tenants.management.questions import AskCommand


class Command(AskCommand):
    help = "List how aliases are doing: what stands behind them, prices, and requests of 24 hours."
    view = AliasFiguresView
    columns = ("id", "name", "requests", "price_kind", "input_fresh", "output_visible")
    routes = ("GET aliases/figures",)
