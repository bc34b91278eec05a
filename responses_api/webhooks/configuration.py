"""Declare what a file can say about webhook endpoints."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from responses_api.models import WebhookEndpoint
from tenants.configuration.fields import ConfigurationField, NameField
from tenants.configuration.kinds import ConfigurationKind, register
from tenants.configuration.section import FileSection


class WebhookKind(ConfigurationKind):
    """Endpoints, without their signing secrets, which the gateway makes."""

    section = "webhooks"
    order = 90
    model = WebhookEndpoint
    on_platform = False
    identity = (NameField("url"),)
    fields = (
        ConfigurationField("events"),
        ConfigurationField("allow_private_network"),
        ConfigurationField("enabled"),
    )

    def rows(self, scope: FileSection) -> QuerySet[Any]:
        return super().rows(scope).order_by("url", "pk")


WEBHOOKS = register(WebhookKind())
