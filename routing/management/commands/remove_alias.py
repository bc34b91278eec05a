"""remove_alias: a alias goes."""

from __future__ import annotations

from routing.api.catalogue import AliasRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = AliasRows
