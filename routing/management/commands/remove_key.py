"""remove_key: a key goes."""

from __future__ import annotations

from routing.api.keys import WholeKeyRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = WholeKeyRows
