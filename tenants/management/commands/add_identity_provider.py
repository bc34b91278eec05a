"""add_identity_provider: a new identity provider."""

from __future__ import annotations

from tenants.api.sign_in import IdentityProviderRows
from tenants.management.rows import AddRow


class Command(AddRow):
    rows = IdentityProviderRows
