"""list_members: the members there are."""

from __future__ import annotations

from tenants.api.people import MemberRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = MemberRows
    columns = ("tenant", "username", "role", "custom_role", "last_sign_in_at")
