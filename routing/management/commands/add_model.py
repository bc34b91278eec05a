"""add_model: a new model."""

from __future__ import annotations

from routing.api.catalogue import ModelRows
from tenants.management.rows import AddRow


class Command(AddRow):
    rows = ModelRows
