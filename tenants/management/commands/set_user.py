"""set_user: other values for a user."""

from __future__ import annotations

from tenants.api.users import UserRows
from tenants.management.rows import SetRow


class Command(SetRow):
    rows = UserRows
