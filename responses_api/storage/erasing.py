"""Erase a stored response on request of its owner, with everything that belongs to it."""

from __future__ import annotations

from django.db import transaction

from gateway_project.lib.errors import BadRequest
from responses_api.models import UNFINISHED
from responses_api.storage.reading import response_not_found, responses, run_of


@transaction.atomic
def erase(tenant_id: int, response_id: str) -> None:
    """Delete the response, its items, its run and its events. Raise NotFound, or BadRequest while it is still
    being made.

    A final status never changes, and no response gets a run later: what was allowed at the look-up is still
    allowed when the rows are deleted. The error is not a 409, because SDKs retry those.
    """
    status, _ = run_of(tenant_id, response_id)
    if status in UNFINISHED:
        raise BadRequest(
            f"The response is {status} and cannot be deleted yet; cancel it first, or wait until it ends."
        )
    _, erased = responses(tenant_id, response_id).delete()
    if not erased.get("responses_api.StoredResponse"):
        raise response_not_found()
