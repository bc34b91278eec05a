"""show_limit: one limit in whole."""

from __future__ import annotations

from tenants.api.money import LimitRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = LimitRows
