"""remove_conversation: a conversation goes."""

from __future__ import annotations

from responses_api.api.kept import ConversationRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = ConversationRows
