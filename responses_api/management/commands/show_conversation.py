"""show_conversation: a stored conversation in whole; that it was read is in the audit log."""

from __future__ import annotations

from functools import partial

from responses_api.api.kept import ConversationRows
from tenants.access.access import OPERATOR
from tenants.management.rows import ShownPart, ShowRow


class Command(ShowRow):
    rows = ConversationRows
    parts = (
        ShownPart(
            "items", "its first items, at most 100", partial(ConversationRows().items_of, OPERATOR)
        ),
    )
    routes = ("GET conversations/{key}/items",)
