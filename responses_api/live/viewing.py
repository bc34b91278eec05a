"""Decide who may see and stop which running calls, and record who stopped one."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction
from msgspec import structs

from gateway_project.lib import actor, errors
from gateway_project.lib.actor import Actor
from gateway_project.lib.db import in_database_thread
from responses_api.live.in_flight import InFlight, InFlightCalls, PlacedCall
from responses_api.process.running_call import RunningCall, StoppedCall
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.audit import events
from tenants.models import ApiKey


@dataclass(frozen=True, slots=True)
class ShownCalls:
    """The running calls that one person, or token, is shown. `key_names` are by public id."""

    in_flight: InFlight
    key_names: dict[str, str]
    stoppable: frozenset[int]  # tenants whose calls they may stop
    may_stop_all: bool

    def may_stop(self, call: RunningCall) -> bool:
        return self.may_stop_all or call.tenant_id in self.stoppable


@dataclass(frozen=True, slots=True)
class StopResult:
    """The call of a request that was told to stop. `stopped` is None if its end was not told in time."""

    placed: PlacedCall
    stopped: StoppedCall | None


async def see(calls: InFlightCalls, who: Access, tenant_id: int | None = None) -> ShownCalls:
    """Return what runs of one tenant, or of all that they see."""
    found = await calls.look(visible_tenants(who, tenant_id))
    shown = tuple(_shown(who, each) for each in found.calls)
    keys = {each.call.key for each in shown}
    return ShownCalls(
        InFlight(shown, found.total, found.asked, found.answered, found.reach),
        await in_database_thread(_names_of, keys) if keys else {},
        who.tenants_where("change", Area.KEYS),
        (Area.KEYS, "change") in who.platform,
    )


async def stop(calls: InFlightCalls, who: Access, request_id: str) -> StopResult:
    """End the call of a request, and record who did. Raise NotFound, or PermissionDenied."""
    placed = await find(calls, who, request_id)
    if not who.may("change", Area.KEYS, placed.call.tenant_id):
        raise errors.PermissionDenied("This takes the right to change API keys.")
    # First: nothing is ended that could not be recorded.
    await in_database_thread(_record, placed.call, actor.current())
    return StopResult(placed, await calls.stop(request_id))


async def find(calls: InFlightCalls, who: Access, request_id: str) -> PlacedCall:
    """Return a running call that they may see. Raise NotFound."""
    placed = await calls.find(request_id)
    if placed is None or not who.may("view", Area.USAGE, placed.call.tenant_id):
        raise errors.NotFound("No call of this request is running: it may have ended just now.")
    return _shown(who, placed)


def visible_tenants(who: Access, tenant_id: int | None) -> frozenset[int] | None:
    """Return the tenants whose calls are shown; None for all there are."""
    if tenant_id is not None:
        return frozenset({tenant_id} if who.may("view", Area.USAGE, tenant_id) else ())
    if (Area.USAGE, "view") in who.platform:
        return None
    return who.tenants_where("view", Area.USAGE)


def _shown(who: Access, placed: PlacedCall) -> PlacedCall:
    """Leave out what answers the call where its tenant is shown aliases only, and for tenants the worker."""
    call = placed.call
    if not who.sees_upstreams_of(call.tenant_id):
        call = structs.replace(call, target="", attempt=min(call.attempt, 1))
    return PlacedCall(call, placed.worker if who.sees_all_tenants else None)


def _names_of(public_ids: set[str]) -> dict[str, str]:
    rows = ApiKey.objects.filter(public_id__in=public_ids)
    return dict(rows.values_list("public_id", "name"))


@transaction.atomic
def _record(call: RunningCall, who: Actor) -> None:
    events.record(
        "request.stopped",
        tenant_id=call.tenant_id,
        object_type="request",
        object_id=call.request_id,
        object_name=call.alias,
        details={"key": call.key, "elapsed_ms": call.elapsed_ms},
        actor=who,
    )
