"""set_key: other values for a key."""

from __future__ import annotations

from routing.api.keys import WholeKeyRows
from tenants.management.rows import SetRow


class Command(SetRow):
    rows = WholeKeyRows
    beside = ("aliases",)
