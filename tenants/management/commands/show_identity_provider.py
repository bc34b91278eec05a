"""show_identity_provider: one identity provider in whole."""

from __future__ import annotations

from tenants.api.sign_in import IdentityProviderRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = IdentityProviderRows
