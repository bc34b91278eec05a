"""list_invitations: the invitations there are."""

from __future__ import annotations

from tenants.api.people import InvitationRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = InvitationRows
    columns = ("tenant", "email", "role", "custom_role", "state", "expires_at")
