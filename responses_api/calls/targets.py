"""Choose the targets of a route that can take a call, or explain why none can."""

from __future__ import annotations

from gateway_project.lib.errors import (
    BadRequest,
    Unavailable,
    UpstreamAuthFailed,
)
from responses_api.doors.door import Door
from responses_api.doors.shapes import ModelCall, rename_param
from routing.route import ResolvedTarget, Route


def choose_targets(door: Door, call: ModelCall, route: Route) -> tuple[ResolvedTarget, ...]:
    """Return the targets to try, in order; at least one. Decided before anything is sent anywhere."""
    if not route.targets:
        raise Unavailable(f"The model {call.model!r} has no enabled target; tell the operator.")
    usable = route.targets
    if door.can_be_native_only and route.native_only:
        usable = tuple(target for target in usable if target.protocol == door.speaks)
    if not usable:
        raise BadRequest(
            f"The model {call.model!r} accepts only providers that speak the Responses API, and has none.",
            param="model",
        )
    refuse_foreign_ids(door, call, usable)
    # A target without a credential must not use up an attempt; if all lack one, the client is told why.
    return tuple(target for target in usable if not target.missing_credential) or usable


def refuse_foreign_ids(door: Door, call: ModelCall, targets: tuple[ResolvedTarget, ...]) -> None:
    """Raise BadRequest for an id of something a provider stores, unless the call goes to the tenant's own
    account."""
    if all(target.owns_credential for target in targets):
        return
    try:
        door.refuse_foreign_ids(call.body, call.history)
    except BadRequest as error:
        raise rename_param(error, call.client_param) from None


def no_credential(target: ResolvedTarget) -> UpstreamAuthFailed:
    """Return the error for a provider that needs a credential and has none that can be used."""
    return UpstreamAuthFailed(
        f"The gateway has no usable credential for the provider {target.provider!r}."
    )
