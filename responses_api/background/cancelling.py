"""Cancel a background response. Cancelling again is allowed and returns what became of the response."""

from __future__ import annotations

import orjson

from gateway_project.lib.errors import BadRequest
from responses_api.background import runs
from responses_api.models import UNFINISHED
from responses_api.storage import reading
from responses_api.storage.pieces import Pieces

# A key that may start and end responses but not read stored ones gets these fields only.
OUTLINE = ("id", "object", "status")


def cancel(tenant_id: int, response_id: str, *, in_full: bool) -> Pieces:
    """End a response and return it as JSON, in full or in outline. The returned status is final.

    Raise NotFound, or BadRequest for a response that no worker runs.
    """
    status, in_background = reading.run_of(tenant_id, response_id)
    if status is None and not in_background:
        raise BadRequest(
            "Only background responses can be cancelled; to end another one, close its connection."
        )
    if status in UNFINISHED:
        runs.cancel(tenant_id, response_id)
    found = reading.response(tenant_id, response_id)
    if in_full:
        return found
    whole = orjson.loads(found.whole())
    return Pieces([orjson.dumps({name: whole[name] for name in OUTLINE})])
