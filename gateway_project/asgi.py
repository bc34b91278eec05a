"""The ASGI application: one table on method and path decides between consumers and Django."""

from __future__ import annotations

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
django.setup()

from django.core.handlers.asgi import ASGIHandler  # noqa: E402  # needs the settings

from gateway_project import health  # noqa: E402
from gateway_project.lib import ids  # noqa: E402
from gateway_project.lib.asgi import (  # noqa: E402
    ASGIApp,
    Message,
    Receive,
    Scope,
    Send,
)
from gateway_project.lib.errors import GatewayError, NotFound  # noqa: E402
from responses_api import guard, worker  # noqa: E402
from responses_api.background import follow  # noqa: E402
from responses_api.bounded import Bounded  # noqa: E402
from responses_api.consumers import FOLLOW, ROUTES, SOCKETS, WrongMethodConsumer  # noqa: E402
from responses_api.prefixes import PREFIXES, is_api  # noqa: E402
from responses_api.reply import HttpReply  # noqa: E402
from responses_api.websocket.handshake import refuse  # noqa: E402

SOCKET_TABLE = {prefix + path: app for prefix in PREFIXES for path, app in SOCKETS.items()}
_django = ASGIHandler()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Dispatch one ASGI scope."""
    match scope["type"]:
        case "http":
            app = TABLE.get((scope["method"], scope["path"])) or _unlisted(scope)
            await app(scope, receive, send)
        case "websocket":
            app = SOCKET_TABLE.get(scope["path"].rstrip("/")) or _no_socket
            await app(scope, receive, send)
        case "lifespan":
            await _live(receive, send)


def _unlisted(scope: Scope) -> ASGIApp:
    """What is not in the table as it stands there: a trailing slash, a wrong method, or Django's."""
    path = scope["path"].rstrip("/")
    return (
        TABLE.get((scope["method"], path))
        or WRONG_METHOD.get(path)
        or HEALTH.get(path)
        or (FOLLOW if follow.is_asked_for(scope) else _with_request_id)
    )


async def _with_request_id(scope: Scope, receive: Receive, send: Send) -> None:
    """Django's pages and routes; every response carries an x-request-id as the others do."""
    request_id = ids.request_id()
    header = (b"x-request-id", request_id.encode())
    reply = HttpReply(send, request_id)
    asked = dict(scope)
    bounded = Bounded(worker.current(), asked, receive, send)

    async def send_with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            await guard.answered(asked, message["status"])
            message = {**message, "headers": [*message["headers"], header]}
        await bounded.send(message)

    try:
        if (refusal := await guard.refusal(scope)) is not None:
            raise refusal
        await bounded.begin()
        await _django(asked, bounded.receive, send_with_id)
        bounded.raise_refusal()
    except GatewayError as error:
        await (reply.error(error) if is_api(scope["path"]) else reply.error_page(error))
    finally:
        bounded.end()


async def _no_socket(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    error = NotFound("There is no WebSocket at this address.")
    await refuse(scope, send, error, ids.request_id())


async def _live(receive: Receive, send: Send) -> None:
    """Start and stop the worker with its server."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await worker.start_up()
            await send({"type": "lifespan.startup.complete"})
        else:
            await worker.shut_down()
            await send({"type": "lifespan.shutdown.complete"})
            return


# A path of which Django serves one method and a consumer another stands here with both.
TABLE: dict[tuple[str, str], ASGIApp] = {
    (method, prefix + path): app
    for prefix in PREFIXES
    for (method, path), app in {**ROUTES, ("GET", "chat/completions"): _with_request_id}.items()
}
WRONG_METHOD: dict[str, Any] = {
    path: WrongMethodConsumer.as_asgi(
        allowed=", ".join(sorted(method for method, other in TABLE if other == path))
    )
    for _, path in TABLE
}
HEALTH: dict[str, ASGIApp] = {"/healthz": health.alive, "/readyz": health.ready}
