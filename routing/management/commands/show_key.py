"""show_key: one API key in whole, without its secret."""

from __future__ import annotations

from functools import partial

from routing.api.keys import WholeKeyRows, first_request_of
from tenants.access.access import OPERATOR
from tenants.management.rows import ShownPart, ShowRow


class Command(ShowRow):
    rows = WholeKeyRows
    parts = (
        ShownPart(
            "first_request",
            "whether it was used with success, or what stood in the way",
            partial(first_request_of, OPERATOR),
        ),
    )
    routes = ("GET keys/{key}/first-request",)
