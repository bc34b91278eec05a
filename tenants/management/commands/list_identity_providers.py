"""list_identity_providers: the identity providers there are."""

from __future__ import annotations

from tenants.api.sign_in import IdentityProviderRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = IdentityProviderRows
    columns = ("tenant", "name", "issuer", "maximum_role", "enabled")
