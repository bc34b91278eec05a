"""list_responses: the responses there are."""

from __future__ import annotations

from responses_api.api.kept import StoredResponseRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = StoredResponseRows
    columns = ("tenant", "model", "provider", "status", "key_public_id", "created_at", "expires_at")
