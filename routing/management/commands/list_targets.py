"""list_targets: the targets there are."""

from __future__ import annotations

from routing.api.catalogue import TargetRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = TargetRows
    columns = ("alias", "provider_model", "position", "weight", "enabled")
