"""What happens to a request before it may cost anything: who calls, what is asked, where it would go.

A refused request is answered and recorded here; only an admitted one becomes an Exchange.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import Struct

from gateway_project.lib.asgi import Receive, Scope, read_body
from gateway_project.lib.client_address import client_address
from gateway_project.lib.errors import Draining
from responses_api import targets
from responses_api.cells import Door
from responses_api.doors.shapes import ModelCall
from routing.route import Route, Target
from tenants.caller import Caller

if TYPE_CHECKING:
    from responses_api.worker import Worker


@dataclass(slots=True)
class Request:
    """What is known of a request so far; filled in from top to bottom, for the record if it is refused."""

    id: str
    door: Door
    scope: Scope
    caller: Caller | None = None
    call: ModelCall | None = None


class Admitted(Struct, frozen=True):
    """A request that may go upstream."""

    request_id: str
    door: Door
    caller: Caller
    call: ModelCall
    route: Route
    targets: tuple[Target, ...]
    upstream_headers: dict[str, str]


async def admit(worker: Worker, request: Request, receive: Receive) -> Admitted:
    """Raises GatewayError for a request that is refused, ClientGone for one that was abandoned."""
    if worker.registry.draining:
        raise Draining
    scope, door = request.scope, request.door
    caller = await worker.authenticator.authenticate(scope["headers"])
    request.caller = caller
    address = client_address(scope.get("client"), scope["headers"], worker.trusted_proxies)
    caller.admit("generate", address)
    call = door.decode(await _body(worker, scope, receive))
    request.call = call
    route = await worker.router.route(caller, call.model)
    return Admitted(
        request_id=request.id,
        door=door,
        caller=caller,
        call=call,
        route=route,
        targets=targets.usable(door, call, route),
        upstream_headers=_upstream_headers(request, call),
    )


async def _body(worker: Worker, scope: Scope, receive: Receive) -> bytes:
    """The body. An upload that is under way when the server starts to drain is dropped: nothing was
    sent for it, and a slow one must not hold the drain."""
    registry, task = worker.registry, asyncio.current_task(worker.loop)
    assert task is not None
    registry.uploads.add(task)
    try:
        return await read_body(
            receive, scope["headers"], worker.max_body_bytes, worker.body_stall_seconds
        )
    except asyncio.CancelledError:
        if not registry.dropped(task):
            raise
        task.uncancel()
        raise Draining from None
    finally:
        registry.uploads.discard(task)


def _upstream_headers(request: Request, call: ModelCall) -> dict[str, str]:
    """Our request id, what the client may pass on, and the kind of answer we want."""
    prefixes = request.door.forwarded_headers
    sent = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in request.scope["headers"]
        if prefixes and name.startswith(prefixes)
    }
    sent["accept"] = "text/event-stream" if call.stream else "application/json"
    sent["x-request-id"] = request.id
    return sent
