"""show_identity_domain: one identity domain in whole."""

from __future__ import annotations

from tenants.api.sign_in import IdentityDomainRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = IdentityDomainRows
