"""remove_member: a member goes."""

from __future__ import annotations

from tenants.api.people import MemberRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = MemberRows
