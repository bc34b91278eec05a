"""remove_external_identity: a external identity goes."""

from __future__ import annotations

from tenants.api.users import ExternalIdentityRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = ExternalIdentityRows
