"""list_credentials: the credentials there are."""

from __future__ import annotations

from routing.api.catalogue import CredentialRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = CredentialRows
    columns = ("tenant", "provider", "name", "secret", "weight", "enabled")
