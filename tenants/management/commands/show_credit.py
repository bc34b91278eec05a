"""show_credit: one credit in whole."""

from __future__ import annotations

from tenants.api.use import CreditRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = CreditRows
