"""Cancelling a background response. It may be asked for again and again: the answer is what became of it."""

from __future__ import annotations

from gateway_project.lib.errors import BadRequest
from responses_api.background import runs
from responses_api.models import UNFINISHED
from responses_api.storage import reading
from responses_api.storage.pieces import Pieces


def cancel(tenant_id: int, response_id: str) -> Pieces:
    """The Response as JSON, which is final. Raises NotFound; BadRequest for one that no worker runs."""
    status, in_background = reading.run_of(tenant_id, response_id)
    if status is None and not in_background:
        raise BadRequest(
            "Only background responses can be cancelled; end another by closing its connection."
        )
    if status in UNFINISHED:
        runs.cancel(tenant_id, response_id)
    return reading.response(tenant_id, response_id)
