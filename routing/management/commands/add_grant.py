"""add_grant: a new grant."""

from __future__ import annotations

from routing.api.catalogue import GrantRows
from tenants.management.rows import AddRow


class Command(AddRow):
    rows = GrantRows
