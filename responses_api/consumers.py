"""Serve the generation routes as Channels consumers on a lean base."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from channels.consumer import AsyncConsumer

from gateway_project.lib import clock, current_request, ids
from gateway_project.lib.asgi import ClientGone, Receive, Scope, Send, note
from gateway_project.lib.errors import Draining, GatewayError, Internal, PermissionDenied
from gateway_project.lib.presence import Presence, of_client
from responses_api import app_state
from responses_api.app_state import AppState
from responses_api.background import entry, follow
from responses_api.cache.responding import respond
from responses_api.calls import counting
from responses_api.calls.admission import Admitted, GenerationRequest, admit_call, read
from responses_api.calls.ending import end_request
from responses_api.calls.exchange import Exchange
from responses_api.calls.outcome import refused_outcome, unbilled_outcome
from responses_api.calls.refusals import record_refusal
from responses_api.calls.request_log import RequestLine
from responses_api.doors.door import Door, Stores
from responses_api.doors.registry import DOORS, RESPONSES
from responses_api.idempotency.calls import key_of
from responses_api.idempotency.once import once
from responses_api.process.response_writer import HttpResponseWriter, ResponseWriter
from responses_api.resources.rest import method_not_allowed
from responses_api.stream.error_body import openai_error
from responses_api.websocket.connection import SocketConnection
from responses_api.websocket.handshake import refuse

logger = logging.getLogger("tollgate.consumers")


class LeanHttpConsumer(AsyncConsumer):
    """A consumer without channel layer and without Django's connection clean-up per message.

    The stock base costs three times as much per request, and with a Redis channel layer it was seen to cut
    live streams. Nothing here touches the ORM, so there is nothing to clean up.
    """

    render_error: Callable[[GatewayError], bytes] = staticmethod(openai_error)

    @classmethod
    def as_asgi(cls, **given: Any) -> Any:
        """Make one consumer for all requests, as it holds nothing of any; the stock method makes one for
        each."""
        return cls(**given)

    async def __call__(  # type: ignore[override]  # plain ASGI instead of channels' event types
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        request_id = ids.request_id()
        services = app_state.of(scope).services
        current_request.enter(request_id, scope["headers"], services.tracer)
        stall = services.timeouts.send_stall
        reply = HttpResponseWriter(send, request_id, services.held, stall, self.render_error)
        try:
            await self.respond(scope, receive, reply, request_id)
        except Exception:
            logger.exception("consumer failed", extra={"request_id": request_id})
            if not reply.started:
                await reply.error(Internal())

    async def respond(
        self, scope: Scope, receive: Receive, reply: HttpResponseWriter, request_id: str
    ) -> None:
        """Answer one request."""
        raise NotImplementedError


class GenerationConsumer(LeanHttpConsumer):
    """POST to a door."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.render_error = door.error

    async def respond(
        self, scope: Scope, receive: Receive, reply: HttpResponseWriter, request_id: str
    ) -> None:
        here = app_state.of(scope)
        request = GenerationRequest(request_id, self.door, scope)
        try:
            await self.answer(here, request, receive, reply)
        except ClientGone:
            end_request(here.services, request, refused_outcome("client_gone", 0, None))
        except GatewayError as error:
            record_refusal(here.services, request, error)
            await reply.error(error)
        finally:
            request.end_turn()

    async def answer(
        self,
        here: AppState,
        request: GenerationRequest,
        receive: Receive,
        reply: HttpResponseWriter,
    ) -> None:
        """Answer one request. Raise GatewayError for a request that is refused, ClientGone for one that
        was abandoned."""
        presence = of_client(request.scope, receive)

        async def run(admitted: Admitted, reply: ResponseWriter) -> None:
            request.end_turn()
            try:
                await self.run(here, request, body, admitted, reply, presence)
            except GatewayError:
                admitted.ticket.settle(0)  # nothing was begun
                raise
            finally:
                admitted.ticket.settle(None)  # a queued call stays charged until it is made

        body = await read(here.services, request, receive, here.answer_cache.repeats.find)
        assert request.call is not None
        key = key_of(request.scope["headers"], self.door.name, body)
        if key is None:
            await run(await admit_call(here.services, request, request.call), reply)
        else:
            request.end_turn()  # it may wait for another
            await once(here.services, here.idempotent_calls, request, key, reply, presence, run)

    async def run(
        self,
        here: AppState,
        request: GenerationRequest,
        body: bytes,
        admitted: Admitted,
        reply: ResponseWriter,
        presence: Presence,
    ) -> None:
        """Answer, from the cache where the alias keeps answers. Raise GatewayError if nothing was begun."""
        if (policy := admitted.route.cache) is None:
            await self.make(here, reply, presence, admitted)
            return
        make = partial(self.make, here, reply, presence)
        cache = here.answer_cache
        await respond(here.services, cache, admitted, policy, request, body, reply, presence, make)

    async def make(
        self, here: AppState, reply: ResponseWriter, presence: Presence, admitted: Admitted
    ) -> None:
        """Make the answer. Raise GatewayError if nothing was begun."""
        if self.door.stores is Stores.RESPONSES:  # it may run in the background, or be resumed
            await entry.answer(here.services, here.runs, admitted, reply, presence)
        else:
            await Exchange(here.services, admitted, reply).run(presence)


class LoggedConsumer(LeanHttpConsumer):
    """A consumer that makes no call, and so writes a log line of its own."""

    async def respond(
        self, scope: Scope, receive: Receive, reply: HttpResponseWriter, request_id: str
    ) -> None:
        line = RequestLine(app_state.of(scope).services, scope, request_id)
        try:
            await self.answer(scope, receive, reply, request_id)
        except GatewayError as error:
            note(scope, error=error.code)
            line.write(error.http_status)
            await reply.error(error)
        except Exception:
            note(scope, error=Internal.code)
            line.write(reply.status or Internal.status)
            raise
        finally:
            line.write(reply.status)

    async def answer(
        self, scope: Scope, receive: Receive, reply: HttpResponseWriter, request_id: str
    ) -> None:
        """Answer one request. Raise GatewayError."""
        raise NotImplementedError


class WrongMethodConsumer(LoggedConsumer):
    """Refuses other methods of a path; `allowed` are those it takes. `let_in` returns an error for a
    client that may not be told even that."""

    def __init__(
        self, allowed: str, let_in: Callable[[Scope], Awaitable[GatewayError | None]]
    ) -> None:
        self.allowed = allowed
        self.let_in = let_in

    async def answer(
        self, scope: Scope, receive: Receive, reply: HttpResponseWriter, request_id: str
    ) -> None:
        refusal = await self.let_in(scope)
        raise refusal or method_not_allowed(scope["method"], scope["path"], self.allowed)


class ResponsesSocket(AsyncConsumer):
    """The Responses API over a WebSocket, on an equally lean base."""

    async def __call__(  # type: ignore[override]  # plain ASGI instead of channels' event types
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        connection = SocketConnection(app_state.of(scope).services, scope, receive, send)
        try:
            await connection.serve()
        except OSError:
            pass  # the client was gone before the handshake ended
        except Exception:
            logger.exception("socket failed", extra={"socket": connection.id})
            with contextlib.suppress(
                Exception
            ):  # it may be open already and is closed in that case
                await refuse(scope, send, Internal(), connection.id)


class CountingConsumer(GenerationConsumer):
    """POST to a door that asks no model: count the request's tokens."""

    async def answer(
        self,
        here: AppState,
        request: GenerationRequest,
        receive: Receive,
        reply: HttpResponseWriter,
    ) -> None:
        await read(here.services, request, receive)
        assert request.call is not None
        admitted = await admit_call(here.services, request, request.call)
        request.end_turn()
        began = clock.monotonic()
        try:
            count = await counting.count(here.services.transport, admitted)
        finally:
            admitted.ticket.settle(0)  # counting uses no tokens
        outcome = unbilled_outcome(200, clock.monotonic() - began)
        end_request(here.services, admitted, outcome)
        headers = {**admitted.ticket.headers, **count.headers}
        await reply.json(200, self.door.write_count(count.tokens), headers)


class FollowConsumer(LoggedConsumer):
    """GET /responses/{id}?stream=true"""

    async def answer(
        self, scope: Scope, receive: Receive, reply: HttpResponseWriter, request_id: str
    ) -> None:
        here = app_state.of(scope)
        services = here.services
        if services.registry.draining:
            raise Draining
        caller = await services.doorkeeper.authenticate(scope, "read")
        note(scope, tenant=caller.tenant_slug, key=caller.key_public_id)
        if caller.end_user:  # a person, whose reading the console records
            raise PermissionDenied("Tokens of the playground read nothing that is stored.")
        follower, after = await follow.open_follower(
            services, here.runs.run_watcher, caller, scope, reply, request_id
        )
        await follower.run(of_client(scope, receive), after)


FOLLOW: Any = FollowConsumer.as_asgi()


def serve_door(door: Door) -> Any:
    """Make the ASGI application of a door's route."""
    consumer = GenerationConsumer if door.generates else CountingConsumer
    return consumer.as_asgi(door=door)


ROUTES: dict[tuple[str, str], Any] = {
    ("POST", door.path): serve_door(door) for door in DOORS.values()
}
SOCKETS: dict[str, Any] = {RESPONSES.path: ResponsesSocket.as_asgi()}
