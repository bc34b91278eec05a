"""set_alias: other values for a alias."""

from __future__ import annotations

from routing.api.catalogue import AliasRows
from tenants.management.rows import SetRow


class Command(SetRow):
    rows = AliasRows
