"""Answer one frame that asks for a response, from its admission on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from msgspec import structs

from gateway_project.lib import clock, current_request
from gateway_project.lib.asgi import Scope
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.errors import GatewayError, Internal
from responses_api.calls.admission import Admitted, GenerationRequest, admit_call, authenticate_turn
from responses_api.calls.ending import end_request
from responses_api.calls.exchange import Exchange
from responses_api.calls.outcome import refused_outcome, unbilled_outcome
from responses_api.calls.refusals import record_refusal
from responses_api.doors.plan import check_writable
from responses_api.doors.registry import RESPONSES
from responses_api.doors.responses import request as responses
from responses_api.process import large_bodies
from responses_api.process.interruption import Interruption
from responses_api.services import Services
from responses_api.stream import events as response_events
from responses_api.stream import response as response_object
from responses_api.websocket import frames
from responses_api.websocket.memory import ConnectionMemory, TurnMemory
from responses_api.websocket.response_writer import SocketResponseWriter
from routing.protocols.shared.envelope import NOBODY
from tenants.token_classes import Usage

logger = logging.getLogger("tollgate.websocket")

Refusal = Callable[[], GatewayError | None]


class SocketTurn:
    """One turn. `asked` is the text of the frame, or what was wrong with it."""

    __slots__ = (
        "_asked", "_exchange", "_lane", "_parent_id", "_reply", "_request", "_services",
    )  # fmt: skip

    def __init__(
        self,
        services: Services,
        request: GenerationRequest,
        reply: SocketResponseWriter,
        asked: str | GatewayError,
        lane: str,
    ) -> None:
        self._services = services
        self._request = request
        self._reply = reply
        self._asked = asked
        self._lane = lane
        self._parent_id = ""
        self._exchange: Exchange | None = None

    async def run(self, memory: ConnectionMemory, refusal: Refusal) -> None:
        """Answer it, whatever happens. `refusal` says why no turn may begin any more."""
        asked = self._request
        current_request.enter(asked.id, asked.scope["headers"], self._services.tracer)
        of_turn = TurnMemory(memory, self._lane)
        try:
            await self._answer(of_turn, refusal)
        except asyncio.CancelledError:
            self._record_departure()
            raise
        except GatewayError as error:
            await self._refuse(error)
        except Exception:
            logger.exception("turn failed", extra={"request_id": self._request.id})
            await self._refuse(Internal())
        finally:
            if self._parent_id and not of_turn.has_remembered:
                memory.forget_failed(self._parent_id, self._lane)
            current_request.leave()

    def interrupt(self, why: Interruption) -> bool:
        """End it from outside; return False if it cannot be ended yet."""
        if self._exchange is None:
            return False
        if why is not Interruption.CLIENT_GONE or not self._reply.survives_client:
            self._exchange.interrupt(why)
        return True

    @property
    def was_abandoned(self) -> bool:
        """Return whether the client got some of the answer, but not its end."""
        return self._reply.started and not self._reply.has_ended

    async def _answer(self, memory: TurnMemory, refusal: Refusal) -> None:
        if isinstance(self._asked, GatewayError):
            raise self._asked
        await authenticate_turn(self._services, self._request)
        _raise(refusal())
        assert self._request.caller is not None
        turn = self._services.large_bodies.turn(self._request.caller.key_public_id)
        try:
            await turn.take(len(self._asked))
            admitted, is_wanted = await self._admit(self._asked, memory, turn)
        finally:
            turn.end()
        try:
            _raise(refusal())
            store = memory.wrap(admitted.store, admitted.resolved)
            await self._respond(structs.replace(admitted, store=store), is_wanted)
        finally:
            admitted.ticket.settle(0)  # if no model was asked

    async def _admit(
        self, asked: str, memory: TurnMemory, turn: large_bodies.BodyTurn
    ) -> tuple[Admitted, bool]:
        """Return the call in the frame, and whether an answer to it is wanted. Raise GatewayError."""
        assert isinstance(self._asked, str)
        caps = self._services.caps
        body, size = await frames.parse(asked, caps), len(asked)
        self._asked = ""  # it is decoded now, and may be large
        parent_id = body.get("previous_response_id")
        self._parent_id = parent_id if isinstance(parent_id, str) else ""
        body, is_wanted = frames.request(body)
        call = responses.parse(body, size, caps)
        await turn.take(call.weight)
        admitted = await admit_call(
            self._services, self._request, call, memory, is_generated=is_wanted
        )
        return admitted, is_wanted

    async def _respond(self, admitted: Admitted, is_wanted: bool) -> None:
        if is_wanted:
            self._exchange = Exchange(self._services, admitted, self._reply)
            await self._exchange.run(None)
        else:
            await self._prepare(admitted)

    async def _prepare(self, admitted: Admitted) -> None:
        """Answer `generate: false`: a response without output, from which the next turn can continue."""
        call, store, reply = admitted.call, admitted.store, self._reply
        began, now = clock.monotonic(), int(clock.timestamp())
        begun = response_object.in_progress(
            call.body, RESPONSES.new_id(), call.model, now, admitted.echo
        )
        check_writable(begun)
        done = response_object.ended(begun, [], Usage(), {}, now, None)
        await reply.start_stream(closing=False)
        created = response_events.event(response_events.CREATED, 0, {"response": begun})
        await reply.send(created, more=True)
        assert store is not None
        try:
            await store.save(done, NOBODY, response_events.terminal(1, done))
        except StoreUnavailable as error:
            logger.error("not stored: %s", error, extra={"request_id": self._request.id})
            done = {**done, "store": False}
        outcome = unbilled_outcome(200, clock.monotonic() - began)
        end_request(self._services, admitted, outcome)
        await reply.send(response_events.terminal(1, done), more=False)

    async def _refuse(self, error: GatewayError) -> None:
        if self._exchange is None:  # an exchange records its call itself
            record_refusal(self._services, self._request, error)
        await self._reply.error(error)

    def _record_departure(self) -> None:
        if self._exchange is None:
            end_request(self._services, self._request, refused_outcome("client_gone", 0, None))


def request(request_id: str, scope: Scope, socket_id: str) -> GenerationRequest:
    """Return a turn of a socket as a request for admission."""
    return GenerationRequest(request_id, RESPONSES, scope, socket=socket_id)


def _raise(refusal: GatewayError | None) -> None:
    if refusal is not None:
        raise refusal
