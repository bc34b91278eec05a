"""add_webhook: a new webhook."""

from __future__ import annotations

from responses_api.api.hooks import EndpointRows
from tenants.management.rows import AddRow


class Command(AddRow):
    rows = EndpointRows
