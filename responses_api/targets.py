"""Which targets of a route can take a call, and why not if none can."""

from __future__ import annotations

from gateway_project.lib.errors import (
    BadRequest,
    NotSupportedYet,
    Unavailable,
    UpstreamAuthFailed,
)
from responses_api.cells import Door
from responses_api.doors.shapes import ModelCall
from responses_api.relay import can_relay
from routing.route import Route, Target


def usable(door: Door, call: ModelCall, route: Route) -> tuple[Target, ...]:
    """The targets to try, in order; at least one. Decided before anything is sent anywhere."""
    if not route.targets:
        raise Unavailable(f"The model {call.model!r} has no enabled target; tell the operator.")
    native = tuple(target for target in route.targets if target.protocol == "responses")
    if door.name == "responses" and route.native_only and not native:
        raise BadRequest(
            f"The model {call.model!r} only accepts providers that speak the Responses API, and has none.",
            param="model",
        )
    relayed = tuple(target for target in route.targets if can_relay(call, target))
    if not relayed:
        raise NotSupportedYet(
            f"The model {call.model!r} is served over {route.targets[0].protocol!r}; reaching it through "
            f"the {door.name!r} route is not supported yet.",
            param="model",
        )
    if not all(target.owns_credential for target in relayed):
        door.refuse_foreign_ids(call.body)
    return relayed


def no_credential(target: Target) -> UpstreamAuthFailed:
    """A provider that wants a credential has none that can be used."""
    return UpstreamAuthFailed(
        f"The gateway has no usable credential for the provider {target.provider!r}."
    )
