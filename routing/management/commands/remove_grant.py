"""remove_grant: a grant goes."""

from __future__ import annotations

from routing.api.catalogue import GrantRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = GrantRows
