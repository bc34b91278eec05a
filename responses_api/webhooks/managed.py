"""State the rules for webhook endpoints and their deliveries."""

from __future__ import annotations

from django.db.models import Model

from gateway_project.lib.secret import Secret
from responses_api.models import WebhookDelivery, WebhookEndpoint
from responses_api.webhooks import endpoints
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.managed.resource import Resource, Values, register


class EndpointResource(Resource):
    """Endpoints, of which the signing secret is returned once."""

    model = WebhookEndpoint
    named_by = ("url",)
    area = Area.WEBHOOKS
    fields = ("tenant", "url", "events", "allow_private_network", "enabled")
    # A user who may set this can reach the operator's own network.
    of_operators = ("allow_private_network",)
    has_own_dependants = True

    def reserved(self, who: Access, row: Model) -> frozenset[str]:
        """Reserve the URL too if an operator allowed it into their network: the permission was for this
        address only."""
        found = super().reserved(who, row)
        is_let_in = isinstance(row, WebhookEndpoint) and row.allow_private_network
        return found | {"url"} if is_let_in and found else found

    def prepare(
        self, who: Access, row: WebhookEndpoint, extra: Values, *, is_new: bool
    ) -> Secret | None:
        return endpoints.give_secret(row) if is_new else None


class DeliveryResource(Resource):
    """Deliveries. Those that have ended can be sent again (webhooks/delivery.py)."""

    model = WebhookDelivery
    area = Area.WEBHOOKS
    rights = frozenset({"view"})


ENDPOINTS = register(EndpointResource())
DELIVERIES = register(DeliveryResource())
