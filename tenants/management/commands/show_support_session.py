"""show_support_session: one support session in whole."""

from __future__ import annotations

from tenants.api.users import SupportRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = SupportRows
