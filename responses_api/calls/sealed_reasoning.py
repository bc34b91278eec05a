"""Leave sealed reasoning out of a call whose upstream cannot open it: only the account that made it can."""

from __future__ import annotations

from msgspec import structs

from gateway_project.lib.errors import GatewayError, InvalidEncryptedContent, UpstreamRejected
from responses_api.doors.shapes import ModelCall

# What x-tollgate-dropped says of it.
DROPPED = "reasoning.encrypted_content"


def is_unreadable(error: GatewayError) -> bool:
    """Return whether the upstream refused the call for sealed content that it cannot open."""
    return isinstance(error, UpstreamRejected) and (error.told_code == InvalidEncryptedContent.code)


def without(call: ModelCall) -> ModelCall | None:
    """Return the call without the reasoning that is sealed in it; None if there is none."""
    given = call.body.get("input")
    if not isinstance(given, list):
        return None
    kept = [item for item in given if not _is_sealed(item)]
    if len(kept) == len(given):
        return None
    return structs.replace(call, body={**call.body, "input": kept})


def _is_sealed(item: object) -> bool:
    return (
        isinstance(item, dict)
        and item.get("type") == "reasoning"
        and bool(item.get("encrypted_content"))
    )
