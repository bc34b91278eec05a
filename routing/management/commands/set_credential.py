"""set_credential: other values for a credential."""

from __future__ import annotations

from routing.api.catalogue import CredentialRows
from tenants.management.rows import SetRow


class Command(SetRow):
    rows = CredentialRows
