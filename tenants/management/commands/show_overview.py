"""show_overview: how things go."""

from __future__ import annotations

from tenants.api.series import OverviewView
from tenants.management.questions import AskCommand


class Command(AskCommand):
    help = "Show how things go beside the span before; in the last 24 hours if nothing else is asked for."
    view = OverviewView
    routes = ("GET reports/overview",)
