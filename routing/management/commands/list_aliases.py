"""list_aliases: the aliases there are."""

from __future__ import annotations

from routing.api.catalogue import AliasRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = AliasRows
    columns = ("tenant", "name", "platform_alias", "strategy", "cache_seconds", "enabled")
