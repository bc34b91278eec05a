"""show_provider: one provider in whole."""

from __future__ import annotations

from routing.api.catalogue import ProviderRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = ProviderRows
