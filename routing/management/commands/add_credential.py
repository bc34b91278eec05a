"""add_credential: a new credential."""

from __future__ import annotations

from routing.api.catalogue import CredentialRows
from tenants.management.rows import AddRow


class Command(AddRow):
    rows = CredentialRows
