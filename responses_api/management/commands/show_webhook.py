"""show_webhook: one webhook in whole."""

from __future__ import annotations

from responses_api.api.hooks import EndpointRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = EndpointRows
