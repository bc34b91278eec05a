"""remove_provider: a provider goes."""

from __future__ import annotations

from routing.api.catalogue import ProviderRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = ProviderRows
