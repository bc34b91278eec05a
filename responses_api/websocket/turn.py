"""One frame that asks for a response, from its admission until it is answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import structs

from gateway_project.lib import clock
from gateway_project.lib.asgi import Scope
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.errors import GatewayError, Internal
from responses_api import response_events, response_object
from responses_api.admission import Admitted, Request, admit_call, authenticate_turn
from responses_api.cells import RESPONSES
from responses_api.doors.responses import understood
from responses_api.exchange import Exchange
from responses_api.interruption import Interruption
from responses_api.legs import check_writable
from responses_api.outcome import facts, refused, unbilled
from responses_api.websocket import frames
from responses_api.websocket.memory import ConnectionMemory, TurnMemory
from responses_api.websocket.reply import SocketReply
from tenants.token_classes import Usage

if TYPE_CHECKING:
    from responses_api.worker import Worker

logger = logging.getLogger("tollgate.websocket")

Json = dict[str, Any]
Refusal = Callable[[], GatewayError | None]


class Turn:
    """`asked` is the text of the frame, or what was wrong with it."""

    __slots__ = (
        "_asked", "_exchange", "_lane", "_parent_id", "_reply", "_request", "_worker",
    )  # fmt: skip

    def __init__(
        self,
        worker: Worker,
        request: Request,
        reply: SocketReply,
        asked: str | GatewayError,
        lane: str,
    ) -> None:
        self._worker = worker
        self._request = request
        self._reply = reply
        self._asked = asked
        self._lane = lane
        self._parent_id = ""
        self._exchange: Exchange | None = None

    async def run(self, memory: ConnectionMemory, refusal: Refusal) -> None:
        """Answer it, whatever happens. `refusal` says why no turn may begin any more."""
        of_turn = TurnMemory(memory, self._lane)
        try:
            await self._answer(of_turn, refusal)
        except asyncio.CancelledError:
            self._record("client_gone", 0, None)
            raise
        except GatewayError as error:
            await self._refuse(error)
        except Exception:
            logger.exception("turn failed", extra={"request_id": self._request.id})
            await self._refuse(Internal())
        finally:
            if self._parent_id and not of_turn.has_kept:
                memory.forget_failed(self._parent_id, self._lane)

    def interrupt(self, why: Interruption) -> bool:
        """End it from outside; False if it is not so far that it could be."""
        if self._exchange is None:
            return False
        if why is not Interruption.CLIENT_GONE or not self._reply.survives_client:
            self._exchange.interrupt(why)
        return True

    @property
    def was_abandoned(self) -> bool:
        """Whether the client was told something, but not the end of it."""
        return self._reply.started and not self._reply.has_ended

    async def _answer(self, memory: TurnMemory, refusal: Refusal) -> None:
        if isinstance(self._asked, GatewayError):
            raise self._asked
        await authenticate_turn(self._worker, self._request)
        _raise(refusal())
        assert self._request.caller is not None
        turn = self._worker.large_bodies.turn(self._request.caller.key_public_id)
        try:
            await turn.take(len(self._asked))
            admitted, is_wanted = await self._admit(self._asked, memory)
        finally:
            turn.end()
        try:
            _raise(refusal())
            keeper = memory.around(admitted.keeper, admitted.resolved)
            await self._respond(structs.replace(admitted, keeper=keeper), is_wanted)
        finally:
            admitted.ticket.settle(0)  # where no model was asked

    async def _admit(self, asked: str, memory: TurnMemory) -> tuple[Admitted, bool]:
        """The call in the frame, and whether an answer to it is wanted. Raises GatewayError."""
        assert isinstance(self._asked, str)
        caps = self._worker.caps
        body, size = await frames.parsed(asked, caps), len(asked)
        self._asked = ""  # it was taken apart, and may be large
        parent_id = body.get("previous_response_id")
        self._parent_id = parent_id if isinstance(parent_id, str) else ""
        body, is_wanted = frames.request(body)
        call = understood(body, size, caps)
        admitted = await admit_call(
            self._worker, self._request, call, memory, is_generated=is_wanted
        )
        return admitted, is_wanted

    async def _respond(self, admitted: Admitted, is_wanted: bool) -> None:
        if is_wanted:
            self._exchange = Exchange(self._worker, admitted, self._reply)
            await self._exchange.run(None)
        else:
            await self._prepare(admitted)

    async def _prepare(self, admitted: Admitted) -> None:
        """`generate: false`: a response without output, from which the next turn can continue."""
        call, keeper, reply = admitted.call, admitted.keeper, self._reply
        began, now = clock.monotonic(), int(clock.timestamp())
        begun = response_object.in_progress(
            call.body, RESPONSES.new_id(), call.model, now, admitted.echo
        )
        check_writable(begun)
        done = response_object.ended(begun, [], Usage(), {}, now, None)
        await reply.start_stream(closing=False)
        created = response_events.event(response_events.CREATED, 0, {"response": begun})
        await reply.send(created, more=True)
        assert keeper is not None
        try:
            await keeper.keep(done, "", response_events.terminal(1, done))
        except StoreUnavailable as error:
            logger.error("not stored: %s", error, extra={"request_id": self._request.id})
            done = {**done, "store": False}
        outcome = unbilled(200, clock.monotonic() - began)
        self._worker.record(facts(admitted, admitted.route), outcome)
        await reply.send(response_events.terminal(1, done), more=False)

    async def _refuse(self, error: GatewayError) -> None:
        self._record("refused", error.http_status, error.code)
        await self._reply.error(error)

    def _record(self, status: str, http_status: int, code: str | None) -> None:
        if self._exchange is None:  # it records its call itself
            self._worker.record(facts(self._request), refused(status, http_status, code))


def request(request_id: str, scope: Scope, socket_id: str) -> Request:
    """A turn of a socket, as admission wants it."""
    return Request(request_id, RESPONSES, scope, socket=socket_id)


def _raise(refusal: GatewayError | None) -> None:
    if refusal is not None:
        raise refusal
