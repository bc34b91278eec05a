"""show_user: one user in whole."""

from __future__ import annotations

from tenants.api.users import UserRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = UserRows
