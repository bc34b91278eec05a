"""remove_model: a model goes."""

from __future__ import annotations

from routing.api.catalogue import ModelRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = ModelRows
