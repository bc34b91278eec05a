"""show_response: a stored response in whole; that it was read is in the audit log."""

from __future__ import annotations

from functools import partial

from responses_api.api.kept import StoredResponseRows
from tenants.access.access import OPERATOR
from tenants.management.rows import ShownPart, ShowRow


class Command(ShowRow):
    rows = StoredResponseRows
    parts = (
        ShownPart(
            "items",
            "its first items, at most 100",
            partial(StoredResponseRows().items_of, OPERATOR),
        ),
    )
    routes = ("GET responses/{key}/items",)
