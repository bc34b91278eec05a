"""Serve webhook endpoints and their deliveries."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import errors
from responses_api.api.kept import BodyField
from responses_api.models import WebhookDelivery, WebhookEndpoint
from responses_api.validators import WEBHOOK_EVENTS
from responses_api.webhooks import delivery, endpoints, trying
from responses_api.webhooks.managed import DELIVERIES, ENDPOINTS
from tenants.access.rights import Area
from tenants.api.base import access_of, body_of
from tenants.api.rows import Rows, RowSerializer


class EndpointSerializer(RowSerializer):
    events = serializers.ListField(
        child=serializers.ChoiceField(choices=sorted(WEBHOOK_EVENTS)),
        required=False,
        help_text="Empty: all events.",
    )

    class Meta:
        model = WebhookEndpoint
        fields = ("id", *ENDPOINTS.fields, "old_secret_until", "created_at")
        read_only_fields = ("id", "old_secret_until", "created_at")


class DeliverySerializer(RowSerializer):
    payload = BodyField(read_only=True)

    class Meta:
        model = WebhookDelivery
        fields = (
            "id", "tenant", "endpoint", "event_id", "event_type", "response_id", "state",
            "attempts", "last_status", "last_error", "next_attempt_at", "created_at", "ended_at",
            "payload",
        )  # fmt: skip


class EndpointRows(Rows):
    resource, about = ENDPOINTS, "webhook endpoints"
    serializer_class = EndpointSerializer
    filters: ClassVar[dict[str, str]] = {"tenant": "tenant"}
    shows_secret = True
    further: ClassVar[dict[str, str]] = {"rotate": "post", "test": "post"}
    results: ClassVar[dict[str, Any]] = {"test": DeliverySerializer}

    def rotate(self, request: Request, key: str) -> Response:
        """Give the endpoint a new secret, which is shown once; the old one signs for 24 more hours."""
        row = self.row(request, key)
        self.refuse_unless("change", request, row)
        body_of(request, ())
        secret = endpoints.rotate(row)
        return self.answer(self.row(request, key), request, secret=secret)

    def test(self, request: Request, key: str) -> Response:
        """Send the endpoint an event that is a test, once and at once; answers with its delivery."""
        row = self.row(request, key)
        self.refuse_unless("change", request, row)
        body_of(request, ())
        sent = trying.try_endpoint(row)
        context = {"resource": DELIVERIES, "access": access_of(request)}
        return Response(DeliverySerializer(sent, context=context).data)


class DeliveryRows(Rows):
    resource, about = DELIVERIES, "webhook deliveries"
    serializer_class = DeliverySerializer
    filters: ClassVar[dict[str, str]] = {
        "tenant": "tenant",
        "endpoint": "endpoint",
        "state": "state",
    }
    left_out = ("payload",)
    further: ClassVar[dict[str, str]] = {"send-again": "post"}

    def send_again(self, request: Request, key: str) -> Response:
        """Put a delivery that has ended on its way once more."""
        row: Any = self.row(request, key)
        if not access_of(request).may("change", Area.WEBHOOKS, row.tenant_id):
            raise errors.PermissionDenied("This token may not do this.")
        body_of(request, ())
        if not delivery.send_again(WebhookDelivery.objects.filter(pk=row.pk)):
            raise errors.Conflict("The delivery has not ended yet.")
        return self.answer(self.row(request, key), request)
