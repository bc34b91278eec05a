"""add_target: a new target."""

from __future__ import annotations

from routing.api.catalogue import TargetRows
from tenants.management.rows import AddRow


class Command(AddRow):
    rows = TargetRows
