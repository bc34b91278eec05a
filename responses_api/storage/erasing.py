"""Erasing a stored response at its owner's word, with everything that belongs to it."""

from __future__ import annotations

from django.db import transaction

from gateway_project.lib.errors import BadRequest
from responses_api.models import UNFINISHED
from responses_api.storage.reading import response_not_found, responses, run_of


@transaction.atomic
def erase(tenant_id: int, response_id: str) -> None:
    """Delete the response, its items, its run and its events. Raises NotFound, and BadRequest while it
    is still being made.

    A status that is final stays so, and no response gets a run later: what was allowed
    when it was looked up is still allowed when the rows are deleted. It is no 409, which SDKs repeat.
    """
    status, _ = run_of(tenant_id, response_id)
    if status in UNFINISHED:
        raise BadRequest(
            f"The response is {status} and cannot be deleted yet; cancel it first, or wait for its end."
        )
    _, erased = responses(tenant_id, response_id).delete()
    if not erased.get("responses_api.StoredResponse"):
        raise response_not_found()
