"""list_identity_domains: the identity domains there are."""

from __future__ import annotations

from tenants.api.sign_in import IdentityDomainRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = IdentityDomainRows
    columns = ("provider", "domain", "confirmed")
