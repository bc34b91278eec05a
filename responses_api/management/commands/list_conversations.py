"""list_conversations: the conversations there are."""

from __future__ import annotations

from responses_api.api.kept import ConversationRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = ConversationRows
    columns = ("tenant", "metadata", "created_at")
