"""list_external_identities: the external identities there are."""

from __future__ import annotations

from tenants.api.users import ExternalIdentityRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = ExternalIdentityRows
    columns = ("user", "issuer", "subject", "last_used_at")
