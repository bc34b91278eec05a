"""test_webhook: send an endpoint an event that is a test, at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_project.lib import command_text
from gateway_project.lib.commands import CommandResult
from responses_api.api.hooks import DeliveryRows, EndpointRows
from responses_api.models import WebhookDelivery
from responses_api.webhooks import trying
from tenants.management.row_words import in_words, told_of_row
from tenants.management.rows import OneRowCommand


class Command(OneRowCommand):
    help = (
        "Send a webhook endpoint a test event, once and at once. Exit code 1 if it was not taken."
    )
    rows = EndpointRows
    routes = ("POST webhooks/{key}/test",)

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        sent = trying.try_endpoint(self.find(options))
        told = told_of_row(DeliveryRows(), sent)
        is_taken = sent.state == WebhookDelivery.State.DELIVERED
        return CommandResult(told, command_text.fields(in_words(told, in_full=True)), ok=is_taken)
