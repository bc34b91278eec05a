"""set_model: other values for a model."""

from __future__ import annotations

from routing.api.catalogue import ModelRows
from tenants.management.rows import SetRow


class Command(SetRow):
    rows = ModelRows
