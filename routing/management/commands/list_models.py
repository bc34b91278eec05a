"""list_models: the models there are."""

from __future__ import annotations

from routing.api.catalogue import ModelRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = ModelRows
    columns = ("provider", "upstream_id", "context_window", "max_output_tokens", "capabilities")
