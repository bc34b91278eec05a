"""remove_credential: a credential goes."""

from __future__ import annotations

from routing.api.catalogue import CredentialRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = CredentialRows
