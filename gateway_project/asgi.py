"""The ASGI application: one table on the path decides between consumers, health checks and Django."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
django.setup()

from django.core.handlers.asgi import ASGIHandler  # noqa: E402  # needs the settings

from gateway_project import health  # noqa: E402
from gateway_project.lib import ids  # noqa: E402
from gateway_project.lib.asgi import Message, Receive, Scope, Send  # noqa: E402
from responses_api import worker  # noqa: E402
from responses_api.consumers import ROUTES  # noqa: E402
from responses_api.views import PREFIXES  # noqa: E402

TABLE = {prefix + path: app for prefix in PREFIXES for path, app in ROUTES.items()} | {
    "/healthz": health.alive,
    "/readyz": health.ready,
}
_django = ASGIHandler()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Dispatch one ASGI scope."""
    match scope["type"]:
        case "http":
            app = TABLE.get(scope["path"]) or TABLE.get(scope["path"].rstrip("/"))
            await (app or _with_request_id)(scope, receive, send)
        case "websocket":
            await _refuse_websocket(receive, send)
        case "lifespan":
            await _live(receive, send)


async def _with_request_id(scope: Scope, receive: Receive, send: Send) -> None:
    """Django's pages and routes; every response carries an x-request-id as the others do."""
    request_id = (b"x-request-id", ids.request_id().encode())

    async def send_with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], request_id]}
        await send(message)

    await _django(dict(scope), receive, send_with_id)


async def _refuse_websocket(receive: Receive, send: Send) -> None:
    """Servers that accept upgrades themselves (daphne) bring them here; the production server does not
    and answers 426 through the consumer."""
    await receive()
    await send({"type": "websocket.close", "code": 1013})


async def _live(receive: Receive, send: Send) -> None:
    """Start and stop the worker with its server."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            worker.current()
            await send({"type": "lifespan.startup.complete"})
        else:
            await worker.shut_down()
            await send({"type": "lifespan.shutdown.complete"})
            return
