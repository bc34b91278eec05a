"""show_external_identity: one external identity in whole."""

from __future__ import annotations

from tenants.api.users import ExternalIdentityRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = ExternalIdentityRows
