"""list_provider_figures: how providers are doing."""

from __future__ import annotations

from routing.api.figures import ProviderFiguresView
from tenants.management.questions import AskCommand


class Command(AskCommand):
    help = "List how providers are doing: calls of this hour and the last, and the newest test."
    view = ProviderFiguresView
    columns = (
        "id",
        "name",
        "credentials",
        "models",
        "calls",
        "failed",
        "tested_at",
        "ok",
        "latency_ms",
    )
    routes = ("GET providers/figures",)
