"""remove_webhook: a webhook goes."""

from __future__ import annotations

from responses_api.api.hooks import EndpointRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = EndpointRows
