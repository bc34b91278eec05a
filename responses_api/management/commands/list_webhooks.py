"""list_webhooks: the webhooks there are."""

from __future__ import annotations

from responses_api.api.hooks import EndpointRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = EndpointRows
    columns = ("tenant", "url", "events", "enabled")
