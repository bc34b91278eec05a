"""remove_target: a target goes."""

from __future__ import annotations

from routing.api.catalogue import TargetRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = TargetRows
