"""list_grants: the grants there are."""

from __future__ import annotations

from routing.api.catalogue import GrantRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = GrantRows
    columns = ("api_key", "alias")
