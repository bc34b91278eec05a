"""Choose the lanes of a route that can take a call, or explain why none can."""

from __future__ import annotations

from dataclasses import replace

from gateway_project.lib import clock, ids
from gateway_project.lib.errors import (
    BadRequest,
    Unavailable,
    UpstreamAuthFailed,
)
from responses_api.calls import facts as call_facts
from responses_api.calls.facts import Headers
from responses_api.doors.door import Door
from responses_api.doors.shapes import ModelCall, rename_param
from responses_api.services import Services
from routing.policy import reasons
from routing.policy.facts import CallFacts
from routing.policy.plan import RoutePlan, plan
from routing.route import DroppedLane, ResolvedTarget, Route
from tenants.keys.caller import Caller


def usable_route(door: Door, call: ModelCall, route: Route) -> Route:
    """Return the route with the lanes that this door can use; at least one. Decided before anything is
    looked up for the call."""
    if not route.targets:
        raise Unavailable(f"The model {call.model!r} has no enabled target; tell the operator.")
    route = for_door(door, route)
    if not route.targets:
        raise BadRequest(
            f"The model {call.model!r} accepts only providers that speak the Responses API, and has none.",
            param="model",
        )
    refuse_foreign_ids(door, call, route.targets)
    return route


def for_door(door: Door, route: Route) -> Route:
    """Return the route without lanes that do not speak the client's format, where it demands that."""
    if not (door.can_be_native_only and route.native_only):
        return route
    foreign = [lane for lane in route.targets if lane.protocol != door.speaks]
    if not foreign:
        return route
    left_out = (DroppedLane(lane, reasons.NOT_NATIVE, lane.protocol) for lane in foreign)
    native = tuple(lane for lane in route.targets if lane.protocol == door.speaks)
    return replace(route, targets=native, left_out=(*route.left_out, *left_out))


def plan_call(
    services: Services, door: Door, caller: Caller, call: ModelCall, route: Route, headers: Headers
) -> tuple[CallFacts, RoutePlan]:
    """Return what decides where the call goes, and the lanes to try, at least one. Raise BadRequest."""
    facts = call_facts.gather(door, caller, call, route, headers, services.affinity)
    chosen = plan(route, facts, services.lane_health, clock.timestamp(), ids.random_bits())
    if not chosen.kept:
        raise no_lane(call.model)
    return facts, chosen


def no_lane(model: str) -> BadRequest:
    """Return the error for a call that no target of its model is meant for."""
    return BadRequest(
        f"The model {model!r} has no target that is meant for such a request; tell the operator.",
        param="model",
    )


def refuse_foreign_ids(door: Door, call: ModelCall, targets: tuple[ResolvedTarget, ...]) -> None:
    """Raise BadRequest for an id of something a provider stores, unless the call goes to the tenant's own
    account."""
    for target in targets:
        if not target.owns_credential:
            break
    else:
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
