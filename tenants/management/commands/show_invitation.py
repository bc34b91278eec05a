"""show_invitation: one invitation in whole."""

from __future__ import annotations

from tenants.api.people import InvitationRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = InvitationRows
