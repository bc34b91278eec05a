"""list_background: responses in the background."""

from __future__ import annotations

from responses_api.api.in_flight import BackgroundView
from tenants.management.questions import AskCommand


class Command(AskCommand):
    help = "List the responses that are queued or being made in the background, oldest first."
    view = BackgroundView
    columns = ("response_id", "tenant", "key", "alias", "status", "worker", "attempts", "queued_at")
    routes = ("GET background",)
