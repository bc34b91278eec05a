"""show_model: one model in whole."""

from __future__ import annotations

from routing.api.catalogue import ModelRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = ModelRows
