"""set_identity_provider: other values for a identity provider."""

from __future__ import annotations

from tenants.api.sign_in import IdentityProviderRows
from tenants.management.rows import SetRow


class Command(SetRow):
    rows = IdentityProviderRows
