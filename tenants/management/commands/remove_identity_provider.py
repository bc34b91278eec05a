"""remove_identity_provider: a identity provider goes."""

from __future__ import annotations

from tenants.api.sign_in import IdentityProviderRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = IdentityProviderRows
