"""Tell of sealed reasoning that an upstream is not sent, and leave it out where it cannot be opened: only the
account that made it can."""

from __future__ import annotations

from msgspec import structs

from gateway_project.lib.errors import GatewayError, InvalidEncryptedContent, UpstreamRejected
from responses_api.doors.shapes import ModelCall
from routing.protocols.shared import envelope
from routing.route import ResolvedTarget

# What x-tollgate-dropped says of it.
DROPPED = "reasoning.encrypted_content"


def is_left_behind(call: ModelCall, lane: ResolvedTarget) -> bool:
    """Return whether the history of the call has reasoning that another provider, or another account of this
    one, sealed. It is not sent."""
    given = call.body.get("input")
    if not (call.history and isinstance(given, list)):
        return False
    own = envelope.beginning(lane.protocol, lane.provider)
    return any(_is_foreign(item, own, lane) for item in given[: call.history])


def _is_foreign(item: object, own: str, lane: ResolvedTarget) -> bool:
    if not _is_sealed(item):
        return False
    sealed = item["encrypted_content"]  # type: ignore[index]  # it is an object, as was seen
    if not (isinstance(sealed, str) and envelope.is_ours(sealed)):
        return False
    if not sealed.startswith(own):
        return True
    found = envelope.unpack(sealed)
    return found is not None and not found.belongs_to(lane)


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
