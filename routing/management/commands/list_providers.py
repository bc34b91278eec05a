"""list_providers: the providers there are."""

from __future__ import annotations

from routing.api.catalogue import ProviderRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = ProviderRows
    columns = ("tenant", "name", "protocol", "base_url", "enabled")
