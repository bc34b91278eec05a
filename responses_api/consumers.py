"""The generation routes, as Channels consumers on a lean base."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import orjson
from channels.consumer import AsyncConsumer

from gateway_project.lib import clock, ids
from gateway_project.lib.asgi import ClientGone, Receive, Scope, Send, header
from gateway_project.lib.errors import GatewayError, Internal, MethodNotAllowed, UpgradeRequired
from responses_api import counting, worker
from responses_api.admission import Admitted, Request, admit
from responses_api.cells import CHAT, COMPACT, INPUT_TOKENS, RESPONSES, Door
from responses_api.exchange import Exchange
from responses_api.outcome import facts, refused, unbilled
from responses_api.reply import HttpReply
from responses_api.worker import Worker

logger = logging.getLogger("tollgate.consumers")


class LeanHttpConsumer(AsyncConsumer):
    """A consumer without channel layer and without Django's connection clean-up per message.

    The stock base costs three times as much per request, and with a Redis channel layer it was seen to
    cut live streams (design.md). Nothing here touches the ORM, so there is nothing to clean up.
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
        if scope["method"] != "POST":
            await reply.error(self.wrong_method(scope))
            return
        here = worker.current()
        request = Request(request_id, self.door, scope)
        try:
            admitted = await admit(here, request, receive)
        except ClientGone:
            here.record(facts(request), refused("client_gone", 0, None))
        except GatewayError as error:
            here.record(facts(request), refused("refused", error.http_status, error.code))
            await reply.error(error)
        else:
            await self.answer(here, admitted, reply, receive)

    async def answer(
        self, here: Worker, admitted: Admitted, reply: HttpReply, receive: Receive
    ) -> None:
        """Answer an admitted request."""
        await Exchange(here, admitted, reply).run(receive)

    def wrong_method(self, scope: Scope) -> GatewayError:
        return MethodNotAllowed(
            f"{scope['method']} is not allowed on {scope['path']}; use POST.", "POST"
        )


class ChatConsumer(GenerationConsumer):
    door = CHAT


class ResponsesConsumer(GenerationConsumer):
    door = RESPONSES

    def wrong_method(self, scope: Scope) -> GatewayError:
        """An upgrade to WebSocket gets 426, on which Codex falls back to HTTP at once (clients.md 1.6)."""
        if header(scope["headers"], b"upgrade").lower() == b"websocket":
            return UpgradeRequired(
                "WebSocket is not offered here; use HTTP with server-sent events."
            )
        return super().wrong_method(scope)


class CompactConsumer(GenerationConsumer):
    door = COMPACT


class InputTokensConsumer(GenerationConsumer):
    """POST /responses/input_tokens, which asks no model."""

    door = INPUT_TOKENS

    async def answer(self, here: Worker, admitted: Admitted, reply: HttpReply, _: Receive) -> None:
        began = clock.monotonic()
        try:
            count = await counting.count(here, admitted)
        except GatewayError as error:
            here.record(facts(admitted), refused("refused", error.http_status, error.code))
            await reply.error(error)
            return
        here.record(facts(admitted, admitted.route), unbilled(200, clock.monotonic() - began))
        await reply.json(200, orjson.dumps(count.body()), count.headers)


ROUTES: dict[str, Any] = {
    "chat/completions": ChatConsumer.as_asgi(),
    "responses": ResponsesConsumer.as_asgi(),
    "responses/compact": CompactConsumer.as_asgi(),
    "responses/input_tokens": InputTokensConsumer.as_asgi(),
}
