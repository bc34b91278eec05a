"""set_webhook: other values for a webhook."""

from __future__ import annotations

from responses_api.api.hooks import EndpointRows
from tenants.management.rows import SetRow


class Command(SetRow):
    rows = EndpointRows
