"""Check a request before it may cost anything: who calls, what is asked, and where it would go.

A refused request is answered and recorded here; only an admitted one becomes an Exchange.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, structs

from gateway_project.lib import clock, structure
from gateway_project.lib.asgi import CLIENT, Receive, Scope, body_at_hand, check_size, read_body
from gateway_project.lib.errors import BadRequest, Draining, RequestTooComplex
from gateway_project.lib.structure import Caps, TooMuchStructure
from responses_api.accounting import expected_tokens
from responses_api.calls import history as state
from responses_api.calls import targets, trace_parts
from responses_api.calls.attempt_headers import asks_for_routing
from responses_api.calls.history import Memory, Resolved
from responses_api.calls.keeping import AnswerKeeper
from responses_api.doors.door import Door, Stores
from responses_api.doors.shapes import ModelCall
from responses_api.enforcement.guarding import Guarded
from responses_api.process.large_bodies import BodyTurn
from responses_api.services import Services
from responses_api.storage.ownership import Ownership
from responses_api.storage.stores import AnswerStore, ResponseStore
from routing.policy.facts import NO_FACTS, CallFacts
from routing.route import ResolvedTarget, Route
from tenants.keys.caller import Caller
from tenants.limits.gate import FREE, Ticket


class ReadBefore(Struct):
    """The findings about a request with the same bytes and caller, which count on the same route: its call,
    what that goes on from, and that nothing of it is to be stored. `may_lack_lanes`: whoever answers it plans
    its lanes once it turns out that a model has to be asked."""

    call: ModelCall
    route: Route
    resolved: Resolved | None
    may_lack_lanes: bool


class GenerationRequest(Struct):
    """The facts known of a request so far; filled in from top to bottom, and recorded if the request is
    refused.

    `socket` is the id of the WebSocket it came over, `turn` its turn among large bodies;
    `passed` are the external guardrails that let it through before, by number and revision; `found` is what
    guardrails did to it then, by name; `known` is what was read of an equal one before.
    """

    id: str
    door: Door
    scope: Scope
    caller: Caller | None = None
    call: ModelCall | None = None
    socket: str | None = None
    turn: BodyTurn | None = None
    passed: Mapping[int, int] = {}
    found: Mapping[str, str] = {}
    known: ReadBefore | None = None

    def end_turn(self) -> None:
        """Let others send their large bodies now."""
        if self.turn is not None:
            self.turn.end()


class PlannedLanes(Struct, frozen=True):
    """The part of an admitted request that only a model's answer needs, as `Admitted` has it."""

    targets: tuple[ResolvedTarget, ...]
    upstream_headers: dict[str, str]
    facts: CallFacts = NO_FACTS
    all_open: bool = False
    tells_routing: bool = False


FindKnown = Callable[[GenerationRequest, bytes], ReadBefore | None]


class Admitted(Struct, frozen=True):
    """A request that may go upstream. `targets` are the lanes to try, in order, planned by its `facts`;
    `all_open`: none of them has a closed circuit. `tells_routing`: the client asked how it is routed, and
    may see that. `store` saves the answer, if it is stored; `resolved` is
    what a call to the Responses API continues from, its own input and the fields that echo both. Whoever
    ends the request settles its `ticket`. With an Idempotency-Key, `ownership` tells whether it may be
    charged. `guarded`: what guardrails did to the call, if any applies to it. `keeper` is there where the
    response cache was asked, `told` are headers of a good answer."""

    request_id: str
    door: Door
    caller: Caller
    call: ModelCall
    route: Route
    targets: tuple[ResolvedTarget, ...]
    upstream_headers: dict[str, str]
    facts: CallFacts = NO_FACTS
    all_open: bool = False
    tells_routing: bool = False
    resolved: Resolved | None = None
    store: AnswerStore | None = None
    socket: str | None = None
    ticket: Ticket = FREE
    ownership: Ownership | None = None
    guarded: Guarded | None = None
    client: str | None = None  # the address it came from, for the log
    keeper: AnswerKeeper | None = None
    told: dict[str, str] = {}

    def with_lanes(self, lanes: PlannedLanes) -> Admitted:
        """Return the request with its lanes planned."""
        return structs.replace(self, **structs.asdict(lanes))

    @property
    def reply_headers(self) -> dict[str, str]:
        """Return what an answer's headers tell of its admission."""
        return {**self.ticket.headers, **self.guardrail_headers}

    @property
    def guardrail_headers(self) -> dict[str, str]:
        """Return what an answer or an error tells of what guardrails changed so far."""
        return {} if self.guarded is None else self.guarded.guardrails.headers()

    @property
    def guardrail_outcome(self) -> str:
        """Return the strongest thing that guardrails have done to it so far; empty if none looked at it."""
        return "" if self.guarded is None else self.guarded.guardrails.outcome

    @property
    def echo(self) -> dict[str, Any]:
        """Return the fields of a Response that tell of the gateway's state."""
        return self.resolved.echo if self.resolved is not None else {}


async def read(
    services: Services, request: GenerationRequest, receive: Receive, find: FindKnown | None = None
) -> bytes:
    """Read the body of an authenticated request; `find` returns what is known of an equal one. The caller
    ends the request's turn. Raise GatewayError for a request that is refused, ClientGone for one that was
    abandoned."""
    caller = await authenticate(services, request)
    turns = services.large_bodies
    body = body_at_hand(request.scope, turns.limits.size)
    if body is None:
        request.turn = turns.turn(caller.key_public_id)
        body = await _body(services, request.scope, receive, request.turn)
    else:
        check_size(len(body), services.max_body_bytes)
    if find is not None and (known := find(request, body)) is not None:
        request.known, request.call = known, known.call
        return body
    if len(body) > services.caps.values:  # a shorter one cannot hold more of them
        await _check_structure(body, services.caps)
    request.call = request.door.decode(body, services.caps)
    weight = request.call.weight
    if weight > turns.limits.size:
        request.turn = request.turn or turns.turn(caller.key_public_id)
        await request.turn.take(weight)
    return body


async def _check_structure(body: bytes, caps: Caps) -> None:
    """Raise RequestTooComplex before objects are made of the body."""
    try:
        await structure.check_between(caps, body)
    except TooMuchStructure as error:
        raise RequestTooComplex(error.cap, error.most) from None


async def authenticate(services: Services, request: GenerationRequest) -> Caller:
    """Find out whose request it is and note it. Raise GatewayError unless the caller may generate, and
    from this address."""
    services.doorkeeper.address_of(request.scope)  # so that the log has it whatever happens next
    if services.registry.draining:
        raise Draining
    request.caller = await services.doorkeeper.authenticate(request.scope, "generate")
    return request.caller


async def authenticate_turn(
    services: Services, request: GenerationRequest, *, counts: bool = True
) -> Caller:
    """Authenticate a request that came over an open connection; it `counts` for rate limits unless this is
    only a check."""
    if services.registry.draining:
        raise Draining
    request.caller = await services.doorkeeper.authenticate_again(
        request.scope, "generate", counts=counts
    )
    return request.caller


async def admit_call(
    services: Services,
    request: GenerationRequest,
    call: ModelCall,
    memory: Memory | None = None,
    charged: int | None = None,
    *,
    is_generated: bool = True,
) -> Admitted:
    """Admit a call of an authenticated request, which counts for rate limits from now on. The last check is
    that of the guardrails, so that nobody can try them out without limit. `charged`: the tokens of a call
    that was admitted before. `is_generated`: a model is to answer it. Raise GatewayError."""
    caller, door = request.caller, request.door
    assert caller is not None
    request.call = call
    _check_choices(door, call, services.max_choices)
    route = await services.router.route(caller, call.model)
    lanes = None
    if (known := request.known) is not None and known.route is route:
        resolved, store = known.resolved, None
    else:
        known = request.known = None
        route = targets.usable_route(door, call, route)
        resolved, store = await _resolve_state(services, caller, route, door, call, memory)
        call = _resolved_call(services, door, route, call, resolved)
        if is_generated:
            door.refuse_empty(call)
    if known is None or not known.may_lack_lanes:
        lanes = plan_lanes(services, request, call, route)
    ticket = await _ticket(services, caller, door, call, charged)
    guarded = None
    if is_generated and not services.guardrails.is_idle:
        guarded = await _guard(services, request, route, call, ticket)
        if guarded is not None:
            lanes = lanes or plan_lanes(services, request, call, route)
            call = guarded.call
            resolved, store = _with_masks(services, caller, guarded, resolved, store)
    lanes = lanes or PlannedLanes(route.targets, {})
    return Admitted(
        request_id=request.id,
        door=door,
        caller=caller,
        call=call,
        route=route,
        targets=lanes.targets,
        facts=lanes.facts,
        all_open=lanes.all_open,
        tells_routing=lanes.tells_routing,
        upstream_headers=lanes.upstream_headers,
        resolved=resolved,
        store=store,
        socket=request.socket,
        ticket=ticket,
        guarded=guarded,
        client=request.scope.get(CLIENT),
    )


def plan_lanes(
    services: Services, request: GenerationRequest, call: ModelCall, route: Route
) -> PlannedLanes:
    """Plan the lanes of a call. Raise BadRequest if there is none."""
    caller, headers = request.caller, request.scope["headers"]
    assert caller is not None
    facts, chosen = targets.plan_call(services, request.door, caller, call, route, headers)
    return PlannedLanes(
        targets=chosen.kept,
        upstream_headers=_upstream_headers(request, call),
        facts=facts,
        all_open=chosen.all_open,
        tells_routing=caller.shows_upstreams and asks_for_routing(headers),
    )


def _resolved_call(
    services: Services, door: Door, route: Route, call: ModelCall, resolved: Resolved | None
) -> ModelCall:
    """Return the call with what it continues from. Raise BadRequest for stored items that name what a
    provider stores."""
    if resolved is not None and resolved.call is not call:
        call = resolved.call
        targets.refuse_foreign_ids(door, call, route.targets)
    if services.tells_cost and call.tells_cost is None:
        call = structs.replace(call, tells_cost=True)
    return call


async def _ticket(
    services: Services, caller: Caller, door: Door, call: ModelCall, charged: int | None
) -> Ticket:
    """Count the call for the caller's rate limits, unless it was `charged` before. Raise RateLimited or
    Unavailable."""
    limits = caller.limits
    if not limits.all:
        return FREE
    if charged is not None:
        return services.gate.resume(limits, charged, dict(call.may_use))
    # Looking through a long conversation takes time, and most keys have no limit of tokens.
    expected = expected_tokens.of_call(door, call) if limits.of_tokens else 0
    return await services.gate.admit(limits, expected, dict(call.may_use))


async def _guard(
    services: Services, request: GenerationRequest, route: Route, call: ModelCall, ticket: Ticket
) -> Guarded | None:
    """Check the input. A call that may not go on has used no tokens, but counts as a request."""
    assert request.caller is not None
    began_at = clock.monotonic()
    try:
        guarded = await services.guardrails.guard(
            request.caller,
            request.door,
            call,
            request_id=request.id,
            alias=route.alias,
            passed=request.passed,
        )
    except BaseException as error:
        trace_parts.note_checks(began_at, getattr(error, "code", "") or "interrupted")
        ticket.settle(0)
        raise
    if guarded is not None:
        guarded.guardrails.note(request.found)
        trace_parts.note_checks(began_at, guarded.guardrails.outcome)
    return guarded


def _with_masks(
    services: Services,
    caller: Caller,
    guarded: Guarded,
    resolved: Resolved | None,
    store: AnswerStore | None,
) -> tuple[Resolved | None, AnswerStore | None]:
    """Return what is stored of a call, with the masks that are never put back."""
    call, kept = guarded.call, guarded.kept
    if resolved is None:
        if kept is None or store is None:
            return None, store
        return None, state.completion_store(services, caller, structs.replace(call, body=kept))
    resolved = structs.replace(resolved, call=call)
    if kept is None:
        return resolved, store
    resolved = state.with_masks(caller, resolved, kept)
    store_spec = resolved.store_spec
    return resolved, None if store_spec is None else ResponseStore(services.writer, store_spec)


def _check_choices(door: Door, call: ModelCall, most: int) -> None:
    """Refuse too many choices, because every choice costs a whole answer."""
    asked = door.choices(call.body)
    if asked > most:
        raise BadRequest(
            f"'{door.choices_param}' is {asked}; the maximum is {most}.",
            param=door.choices_param,
        )


async def _resolve_state(
    services: Services,
    caller: Caller,
    route: Route,
    door: Door,
    call: ModelCall,
    memory: Memory | None,
) -> tuple[Resolved | None, AnswerStore | None]:
    """Return what the call continues from, and the store that saves its answer."""
    if door.stores is Stores.NOTHING:
        return None, None
    if door.stores is Stores.COMPLETIONS:
        return None, state.completion_store(services, caller, call)
    resolved = await state.resolve(services, caller, route, call, memory)
    store_spec = resolved.store_spec
    return resolved, ResponseStore(services.writer, store_spec) if store_spec is not None else None


async def _body(services: Services, scope: Scope, receive: Receive, turn: BodyTurn) -> bytes:
    """Read the body. An upload in progress is dropped when the server starts to drain: nothing was sent
    for it, and a slow one must not hold up the drain."""
    registry, task = services.registry, asyncio.current_task(services.loop)
    assert task is not None
    registry.uploads.add(task)
    try:
        return await read_body(
            receive,
            scope["headers"],
            services.max_body_bytes,
            services.body_stall_seconds,
            services.rounds,
            turn,
        )
    except asyncio.CancelledError:
        if not registry.was_dropped(task):
            raise
        task.uncancel()
        raise Draining from None
    finally:
        registry.uploads.discard(task)


def _upstream_headers(request: GenerationRequest, call: ModelCall) -> dict[str, str]:
    """Build the upstream headers: our request id, what the client may pass on, and the kind of answer we
    want."""
    prefixes = request.door.forwarded_headers
    sent = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in request.scope["headers"]
        if prefixes and name.startswith(prefixes)
    }
    sent["accept"] = "text/event-stream" if call.stream else "application/json"
    sent["x-request-id"] = request.id
    return sent
