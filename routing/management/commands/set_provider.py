"""set_provider: other values for a provider."""

from __future__ import annotations

from routing.api.catalogue import ProviderRows
from tenants.management.rows import SetRow


class Command(SetRow):
    rows = ProviderRows
