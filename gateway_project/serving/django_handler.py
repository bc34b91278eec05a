"""Serve Django's routes, and end each request properly, whatever becomes of its answer."""

from __future__ import annotations

import asyncio
from typing import Any

from django.core.handlers.asgi import ASGIHandler
from django.http.response import HttpResponseBase

from gateway_project.lib.asgi import Message, Receive, Send


class DjangoHandler(ASGIHandler):
    """Django's handler, which ends requests whose answer fails as well.

    Where sending an answer raises, such as a stream whose next query fails, Django closes neither the answer
    nor the body of the request: their thread would end with its connection to the database open, which
    PostgreSQL counts until garbage is collected. For a client that leaves Django closes both, so a failure
    looks to it like one.
    """

    async def handle(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        sending = _Sending(send)
        try:
            await super().handle(scope, receive, sending)
        except asyncio.CancelledError:
            if sending.failure is None:
                raise
        if sending.failure is not None:
            raise sending.failure

    async def send_response(self, response: HttpResponseBase, send: Send) -> None:
        try:
            await super().send_response(response, send)
        except Exception as error:
            assert isinstance(send, _Sending)
            send.failure = error
            raise asyncio.CancelledError from error


class _Sending:
    """The way out of one request's answer; `failure` is why it got no further."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.failure: Exception | None = None

    async def __call__(self, message: Message) -> None:
        await self._send(message)
