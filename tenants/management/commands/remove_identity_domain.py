"""remove_identity_domain: a identity domain goes."""

from __future__ import annotations

from tenants.api.sign_in import IdentityDomainRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = IdentityDomainRows
