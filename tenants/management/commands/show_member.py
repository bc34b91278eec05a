"""show_member: one member in whole."""

from __future__ import annotations

from tenants.api.people import MemberRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = MemberRows
