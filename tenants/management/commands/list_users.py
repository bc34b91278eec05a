"""list_users: the users there are."""

from __future__ import annotations

from tenants.api.users import UserRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = UserRows
    columns = ("username", "email", "role", "is_active", "has_second_factor", "last_login")
