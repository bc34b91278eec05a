"""Cancelling a background response. It may be asked for again and again: the answer is what became of it."""

from __future__ import annotations

import orjson

from gateway_project.lib.errors import BadRequest
from responses_api.background import runs
from responses_api.models import UNFINISHED
from responses_api.storage import reading
from responses_api.storage.pieces import Pieces

# Who may start and end responses, but not read what is stored, learns what became of this one.
OUTLINE = ("id", "object", "status")


def cancel(tenant_id: int, response_id: str, *, in_full: bool) -> Pieces:
    """End a response and return it as JSON, in full or in outline. It is final.

    Raises NotFound; BadRequest for a response that no worker runs.
    """
    status, in_background = reading.run_of(tenant_id, response_id)
    if status is None and not in_background:
        raise BadRequest(
            "Only background responses can be cancelled; end another by closing its connection."
        )
    if status in UNFINISHED:
        runs.cancel(tenant_id, response_id)
    found = reading.response(tenant_id, response_id)
    if in_full:
        return found
    whole = orjson.loads(found.whole())
    return Pieces([orjson.dumps({name: whole[name] for name in OUTLINE})])
