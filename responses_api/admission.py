"""What happens to a request before it may cost anything: who calls, what is asked, where it would go.

A refused request is answered and recorded here; only an admitted one becomes an Exchange.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from gateway_project.lib import structure
from gateway_project.lib.asgi import CLIENT, Receive, Scope, read_body
from gateway_project.lib.errors import BadRequest, Draining, RequestTooComplex
from gateway_project.lib.structure import Caps, TooMuchStructure
from responses_api import expected_tokens, state, targets
from responses_api.accounting import facts
from responses_api.cells import Door
from responses_api.doors import responses
from responses_api.doors.shapes import ModelCall
from responses_api.idempotency.ownership import Ownership
from responses_api.large_bodies import Turn
from responses_api.state import Memory, Resolved
from responses_api.storage.keepers import Keeper, ResponseKeeper
from routing.route import Route, Target
from tenants.caller import Caller
from tenants.limits.gate import FREE, Ticket

if TYPE_CHECKING:
    from responses_api.worker import Worker


@dataclass(slots=True)
class Request:
    """What is known of a request so far; filled in from top to bottom, for the record if it is refused.

    `socket` is the id of the WebSocket it came by, `turn` its turn among large bodies.
    """

    id: str
    door: Door
    scope: Scope
    caller: Caller | None = None
    call: ModelCall | None = None
    socket: str | None = None
    turn: Turn | None = None

    def end_turn(self) -> None:
        """Others may send their large bodies now."""
        if self.turn is not None:
            self.turn.end()


class Admitted(Struct, frozen=True):
    """A request that may go upstream. `keeper` keeps the answer, if anybody does; `resolved` is what a
    call to the Responses API continues from, its own input and what the answer says of both. Whoever ends
    the request settles its `ticket`. With an Idempotency-Key its `ownership` says whether it may charge."""

    request_id: str
    door: Door
    caller: Caller
    call: ModelCall
    route: Route
    targets: tuple[Target, ...]
    upstream_headers: dict[str, str]
    resolved: Resolved | None = None
    keeper: Keeper | None = None
    socket: str | None = None
    ticket: Ticket = FREE
    ownership: Ownership | None = None
    client: str | None = None  # the address it came from, for the log

    @property
    def echo(self) -> dict[str, Any]:
        """The fields of a Response that tell of the gateway's state."""
        return self.resolved.echo if self.resolved is not None else {}


async def read(worker: Worker, request: Request, receive: Receive) -> bytes:
    """The body of an authenticated request, whose call is noted in it. Whoever calls this ends the
    request's turn. Raises GatewayError for a request that is refused, ClientGone for one that was
    abandoned."""
    caller = await authenticate(worker, request)
    request.turn = worker.large_bodies.turn(caller.key_public_id)
    body = await _body(worker, request.scope, receive, request.turn)
    await _check_structure(body, worker.caps)
    request.call = request.door.decode(body, worker.caps)
    return body


async def _check_structure(body: bytes, caps: Caps) -> None:
    """Raise RequestTooComplex before objects are made of the body."""
    try:
        await structure.check_between(caps, body)
    except TooMuchStructure as error:
        raise RequestTooComplex(error.cap, error.most) from None


async def authenticate(worker: Worker, request: Request) -> Caller:
    """Whose request it is, noted in it; raises GatewayError unless they may generate, and from here."""
    worker.doorkeeper.address_of(request.scope)  # so that the log has it, whatever comes next
    if worker.registry.draining:
        raise Draining
    request.caller = await worker.doorkeeper.authenticated(request.scope, "generate")
    return request.caller


async def authenticate_turn(worker: Worker, request: Request, *, counts: bool = True) -> Caller:
    """The same for what comes by an open connection; `counts` unless it is only looked whether it may."""
    if worker.registry.draining:
        raise Draining
    request.caller = await worker.doorkeeper.authenticated_again(
        request.scope, "generate", counts=counts
    )
    return request.caller


async def admit_call(
    worker: Worker,
    request: Request,
    call: ModelCall,
    memory: Memory | None = None,
    charged: int | None = None,
    *,
    is_generated: bool = True,
) -> Admitted:
    """A call of an authenticated request, which counts from now on: the last thing that can refuse it is a
    rate limit. `charged`: it was let in before, for so many tokens. `is_generated`: a model is to answer it.
    Raises GatewayError."""
    caller, door = request.caller, request.door
    assert caller is not None
    request.call = call
    _check_choices(call, worker.max_choices)
    route = await worker.router.route(caller, call.model)
    usable = targets.usable(door, call, route)
    resolved, keeper = await _state(worker, caller, route, call, memory)
    if resolved is not None and resolved.call is not call:
        targets.refuse_foreign_ids(door, resolved.call, usable)  # what is stored may name some too
    call = resolved.call if resolved is not None else call
    if is_generated:
        responses.refuse_nothing(call)
    if charged is None:
        # Looking through a long conversation takes time, and most keys have no limit of tokens.
        expected = expected_tokens.of_call(call) if caller.limits.of_tokens else 0
        ticket = await worker.gate.admit(caller.limits, expected)
    else:
        ticket = worker.gate.resumed(caller.limits, charged)
    return Admitted(
        request_id=request.id,
        door=door,
        caller=caller,
        call=call,
        route=route,
        targets=usable,
        upstream_headers=_upstream_headers(request, call),
        resolved=resolved,
        keeper=keeper,
        socket=request.socket,
        ticket=ticket,
        client=request.scope.get(CLIENT),
    )


def _check_choices(call: ModelCall, most: int) -> None:
    """Every choice costs a whole answer."""
    if call.door == "chat" and facts.choices(call.body) > most:
        raise BadRequest(
            f"'n' is {call.body['n']}; at most {most} choices may be asked for.", param="n"
        )


async def _state(
    worker: Worker, caller: Caller, route: Route, call: ModelCall, memory: Memory | None
) -> tuple[Resolved | None, Keeper | None]:
    """What the call continues from, and who keeps its answer."""
    if call.door == "chat":
        return None, state.completion_keeper(worker, caller, call)
    resolved = await state.resolve(worker, caller, route, call, memory)
    keeping = resolved.keeping
    return resolved, ResponseKeeper(worker.writer, keeping) if keeping is not None else None


async def _body(worker: Worker, scope: Scope, receive: Receive, turn: Turn) -> bytes:
    """The body. An upload that is under way when the server starts to drain is dropped: nothing was
    sent for it, and a slow one must not hold the drain."""
    registry, task = worker.registry, asyncio.current_task(worker.loop)
    assert task is not None
    registry.uploads.add(task)
    try:
        return await read_body(
            receive, scope["headers"], worker.max_body_bytes, worker.body_stall_seconds, turn
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
