"""set_target: other values for a target."""

from __future__ import annotations

from routing.api.catalogue import TargetRows
from tenants.management.rows import SetRow


class Command(SetRow):
    rows = TargetRows
