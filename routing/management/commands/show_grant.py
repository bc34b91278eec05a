"""show_grant: one grant in whole."""

from __future__ import annotations

from routing.api.catalogue import GrantRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = GrantRows
