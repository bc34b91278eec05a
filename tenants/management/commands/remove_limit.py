"""remove_limit: a limit goes."""

from __future__ import annotations

from tenants.api.money import LimitRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = LimitRows
