"""list_requests: requests, answered, failed and refused."""

from __future__ import annotations

from tenants.api.requests import RequestLogView
from tenants.management.questions import AskCommand


class Command(AskCommand):
    help = "List requests, newest first; those of the last 24 hours if no time is asked for."
    view = RequestLogView
    columns = (
        "id",
        "at",
        "tenant",
        "key",
        "status",
        "alias",
        "provider",
        "upstream_model",
        "duration_ms",
        "charge_nano",
        "code",
    )
    routes = ("GET requests",)
