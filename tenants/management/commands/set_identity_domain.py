"""set_identity_domain: other values for a identity domain."""

from __future__ import annotations

from tenants.api.sign_in import IdentityDomainRows
from tenants.management.rows import SetRow


class Command(SetRow):
    rows = IdentityDomainRows
