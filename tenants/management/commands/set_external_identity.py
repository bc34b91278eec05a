"""set_external_identity: other values for a external identity."""

from __future__ import annotations

from tenants.api.users import ExternalIdentityRows
from tenants.management.rows import SetRow


class Command(SetRow):
    rows = ExternalIdentityRows
