"""Which targets of a route can take a call, and why not if none can."""

from __future__ import annotations

from gateway_project.lib.errors import (
    BadRequest,
    Unavailable,
    UpstreamAuthFailed,
)
from responses_api.cells import Door
from responses_api.doors.shapes import ModelCall, renamed
from routing.route import Route, Target


def usable(door: Door, call: ModelCall, route: Route) -> tuple[Target, ...]:
    """The targets to try, in order; at least one. Decided before anything is sent anywhere."""
    if not route.targets:
        raise Unavailable(f"The model {call.model!r} has no enabled target; tell the operator.")
    usable = route.targets
    if door.name == "responses" and route.native_only:
        usable = tuple(target for target in usable if target.protocol == "responses")
    if not usable:
        raise BadRequest(
            f"The model {call.model!r} only accepts providers that speak the Responses API, and has none.",
            param="model",
        )
    refuse_foreign_ids(door, call, usable)
    # One that cannot be asked must not use up an attempt; if none can, the client is told why.
    return tuple(target for target in usable if not target.missing_credential) or usable


def refuse_foreign_ids(door: Door, call: ModelCall, targets: tuple[Target, ...]) -> None:
    """Raise BadRequest for an id of something a provider keeps, unless it goes to the tenant's own."""
    if all(target.owns_credential for target in targets):
        return
    try:
        door.refuse_foreign_ids(call.body, call.history)
    except BadRequest as error:
        raise renamed(error, call.named) from None


def no_credential(target: Target) -> UpstreamAuthFailed:
    """A provider that wants a credential has none that can be used."""
    return UpstreamAuthFailed(
        f"The gateway has no usable credential for the provider {target.provider!r}."
    )
