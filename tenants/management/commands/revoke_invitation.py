"""revoke_invitation: a link that was not used opens nothing any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenants.access.access import OPERATOR
from tenants.api.people import InvitationRows
from tenants.management.rows import ActOnRow
from tenants.members import invitations
from tenants.models import Invitation


class Command(ActOnRow):
    help = "Revoke an invitation that was not used; its link opens nothing any more."
    rows = InvitationRows
    routes = ("POST invitations/{key}/revoke",)

    def act(self, row: Invitation, options: Mapping[str, Any]) -> None:
        invitations.revoke(OPERATOR, row)
