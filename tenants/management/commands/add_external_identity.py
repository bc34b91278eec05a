"""add_external_identity: a new external identity."""

from __future__ import annotations

from tenants.api.users import ExternalIdentityRows
from tenants.management.rows import AddRow


class Command(AddRow):
    rows = ExternalIdentityRows
