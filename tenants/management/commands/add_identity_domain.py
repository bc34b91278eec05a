"""add_identity_domain: a new identity domain."""

from __future__ import annotations

from tenants.api.sign_in import IdentityDomainRows
from tenants.management.rows import AddRow


class Command(AddRow):
    rows = IdentityDomainRows
