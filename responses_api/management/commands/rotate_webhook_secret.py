"""rotate_webhook_secret: a new signing secret for an endpoint, while the old one goes on for a day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_project.lib.secret import Secret
from responses_api.api.hooks import EndpointRows
from responses_api.models import WebhookEndpoint
from responses_api.webhooks import endpoints
from tenants.management.rows import ActOnRow


class Command(ActOnRow):
    help = "Give a webhook endpoint a new secret, shown only once; the old one signs for 24 more hours."
    noun = "webhook"
    rows = EndpointRows
    routes = ("POST webhooks/{key}/rotate",)

    def act(self, row: WebhookEndpoint, options: Mapping[str, Any]) -> Secret:
        return endpoints.rotate(row)
