"""show_system: how the installation is."""

from __future__ import annotations

from gateway_project.system_api import SystemView
from tenants.management.questions import AskCommand


class Command(AskCommand):
    help = "Show what needs somebody, which processes live, and how far the ledger is."
    view = SystemView
    routes = ("GET system",)
