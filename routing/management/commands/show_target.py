"""show_target: one target in whole."""

from __future__ import annotations

from routing.api.catalogue import TargetRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = TargetRows
