"""remove_response: a response goes."""

from __future__ import annotations

from responses_api.api.kept import StoredResponseRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = StoredResponseRows
