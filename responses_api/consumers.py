"""The generation routes, as Channels consumers on a lean base."""

from __future__ import annotations

import contextlib
import logging
from typing import Any, ClassVar

import orjson
from channels.consumer import AsyncConsumer

from gateway_project.lib import clock, ids
from gateway_project.lib.asgi import ClientGone, Receive, Scope, Send, note
from gateway_project.lib.errors import Draining, GatewayError, Internal
from gateway_project.lib.presence import Presence, of_client
from responses_api import counting, guard, worker
from responses_api.admission import Admitted, Request, admit_call, read
from responses_api.background import entry, follow
from responses_api.cells import CHAT, COMPACT, INPUT_TOKENS, RESPONSES, Door
from responses_api.exchange import Exchange
from responses_api.idempotency.calls import key_of
from responses_api.idempotency.once import once
from responses_api.outcome import facts, refused, unbilled
from responses_api.reply import HttpReply, Reply
from responses_api.request_log import RequestLine
from responses_api.rest import method_not_allowed
from responses_api.websocket.connection import Connection
from responses_api.websocket.handshake import refuse
from responses_api.worker import Worker

logger = logging.getLogger("tollgate.consumers")


class LeanHttpConsumer(AsyncConsumer):
    """A consumer without channel layer and without Django's connection clean-up per message.

    The stock base costs three times as much per request, and with a Redis channel layer it was seen to
    cut live streams. Nothing here touches the ORM, so there is nothing to clean up.
    """

    async def __call__(  # type: ignore[override]  # plain ASGI instead of channels' event types
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        request_id = ids.request_id()
        reply = HttpReply(send, request_id)
        try:
            await self.respond(scope, receive, reply, request_id)
        except Exception:
            logger.exception("consumer failed", extra={"request_id": request_id})
            if not reply.started:
                await reply.error(Internal())

    async def respond(
        self, scope: Scope, receive: Receive, reply: HttpReply, request_id: str
    ) -> None:
        """Answer one request."""
        raise NotImplementedError


class GenerationConsumer(LeanHttpConsumer):
    """POST to a door."""

    door: ClassVar[Door]

    async def respond(
        self, scope: Scope, receive: Receive, reply: HttpReply, request_id: str
    ) -> None:
        here = worker.current()
        request = Request(request_id, self.door, scope)
        try:
            await self.answer(here, request, receive, reply)
        except ClientGone:
            here.record(facts(request), refused("client_gone", 0, None))
        except GatewayError as error:
            here.record(facts(request), refused("refused", error.http_status, error.code))
            await reply.error(error)
        finally:
            request.end_turn()

    async def answer(
        self, here: Worker, request: Request, receive: Receive, reply: HttpReply
    ) -> None:
        """Raises GatewayError for a request that is refused, ClientGone for one that was abandoned."""
        presence = of_client(request.scope, receive)

        async def run(admitted: Admitted, reply: Reply) -> None:
            request.end_turn()
            try:
                await self.run(here, admitted, reply, presence)
            except GatewayError:
                admitted.ticket.settle(0)  # nothing was begun
                raise
            finally:
                admitted.ticket.settle(None)  # what was queued stays charged until it is made

        body = await read(here, request, receive)
        assert request.call is not None
        key = key_of(request.scope["headers"], self.door.name, body)
        if key is None:
            await run(await admit_call(here, request, request.call), reply)
        else:
            request.end_turn()  # it may wait for another
            await once(here, request, key, reply, presence, run)

    async def run(self, here: Worker, admitted: Admitted, reply: Reply, presence: Presence) -> None:
        """Make the answer. Raises GatewayError where nothing was begun."""
        await Exchange(here, admitted, reply).run(presence)


class ChatConsumer(GenerationConsumer):
    door = CHAT


class ResponsesConsumer(GenerationConsumer):
    door = RESPONSES

    async def run(self, here: Worker, admitted: Admitted, reply: Reply, presence: Presence) -> None:
        await entry.answer(here, admitted, reply, presence)


class LoggedConsumer(LeanHttpConsumer):
    """One that makes no call, and so has a line of its own in the log."""

    async def respond(
        self, scope: Scope, receive: Receive, reply: HttpReply, request_id: str
    ) -> None:
        line = RequestLine(scope, request_id)
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
        self, scope: Scope, receive: Receive, reply: HttpReply, request_id: str
    ) -> None:
        """Answer one request. Raises GatewayError."""
        raise NotImplementedError


class WrongMethodConsumer(LoggedConsumer):
    """Whatever else is asked of a path; `allowed` is what may be asked."""

    def __init__(self, allowed: str) -> None:
        self.allowed = allowed

    async def answer(
        self, scope: Scope, receive: Receive, reply: HttpReply, request_id: str
    ) -> None:
        refusal = await guard.refusal(scope)
        raise refusal or method_not_allowed(scope["method"], scope["path"], self.allowed)


class ResponsesSocket(AsyncConsumer):
    """The Responses API over a WebSocket, on as lean a base."""

    async def __call__(  # type: ignore[override]  # plain ASGI instead of channels' event types
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        connection = Connection(worker.current(), scope, receive, send)
        try:
            await connection.serve()
        except OSError:
            pass  # the client was gone before the handshake ended
        except Exception:
            logger.exception("socket failed", extra={"socket": connection.id})
            with contextlib.suppress(Exception):  # it may be open already, and is closed then
                await refuse(scope, send, Internal(), connection.id)


class CompactConsumer(GenerationConsumer):
    door = COMPACT


class InputTokensConsumer(GenerationConsumer):
    """POST /responses/input_tokens, which asks no model."""

    door = INPUT_TOKENS

    async def answer(
        self, here: Worker, request: Request, receive: Receive, reply: HttpReply
    ) -> None:
        await read(here, request, receive)
        assert request.call is not None
        admitted = await admit_call(here, request, request.call)
        request.end_turn()
        began = clock.monotonic()
        try:
            count = await counting.count(here, admitted)
        finally:
            admitted.ticket.settle(0)  # counting takes none
        here.record(facts(admitted, admitted.route), unbilled(200, clock.monotonic() - began))
        await reply.json(
            200, orjson.dumps(count.body()), {**admitted.ticket.headers, **count.headers}
        )


class FollowConsumer(LoggedConsumer):
    """GET /responses/{id}?stream=true"""

    async def answer(
        self, scope: Scope, receive: Receive, reply: HttpReply, request_id: str
    ) -> None:
        here = worker.current()
        if here.registry.draining:
            raise Draining
        caller = await here.doorkeeper.authenticated(scope, "read")
        note(scope, tenant=caller.tenant_slug, key=caller.key_public_id)
        follower, after = await follow.opened(here, caller, scope, reply, request_id)
        await follower.run(of_client(scope, receive), after)


FOLLOW: Any = FollowConsumer.as_asgi()
ROUTES: dict[tuple[str, str], Any] = {
    ("POST", "chat/completions"): ChatConsumer.as_asgi(),
    ("POST", "responses"): ResponsesConsumer.as_asgi(),
    ("POST", "responses/compact"): CompactConsumer.as_asgi(),
    ("POST", "responses/input_tokens"): InputTokensConsumer.as_asgi(),
}
SOCKETS: dict[str, Any] = {"responses": ResponsesSocket.as_asgi()}
