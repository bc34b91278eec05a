"""The ASGI application: one table on method and path decides between consumers and Django."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
django.setup()

from django.conf import settings  # noqa: E402  # all of these need the settings

from gateway_project import health  # noqa: E402
from gateway_project.lib import ids  # noqa: E402
from gateway_project.lib.asgi import (  # noqa: E402
    ASGIApp,
    Message,
    Receive,
    Scope,
    Send,
    note,
)
from gateway_project.lib.errors import (  # noqa: E402
    GatewayError,
    HostNotAllowed,
    Internal,
    NotFound,
)
from gateway_project.lib.hosts import AllowedHosts  # noqa: E402
from gateway_project.lib.prefixes import MANAGEMENT, PREFIXES, is_api, is_management  # noqa: E402
from gateway_project.serving import guard, worker  # noqa: E402
from gateway_project.serving.bounded import Bounded  # noqa: E402
from gateway_project.serving.django_handler import DjangoHandler  # noqa: E402
from gateway_project.serving.metrics import route as metrics_route  # noqa: E402
from responses_api import app_state  # noqa: E402
from responses_api.background import follow  # noqa: E402
from responses_api.calls.request_log import RequestLine  # noqa: E402
from responses_api.consumers import FOLLOW, ROUTES, SOCKETS, WrongMethodConsumer  # noqa: E402
from responses_api.process.response_writer import HttpResponseWriter  # noqa: E402
from responses_api.websocket.handshake import refuse  # noqa: E402

CONSOLE = "/console/"
CONSOLE_SOCKET = "/console/ws"
LATE_ROUTES = {
    CONSOLE: "gateway_project.console_urls",
    MANAGEMENT: "gateway_project.api_urls",
}
imported_routes: set[str] = set()
SOCKET_TABLE = {prefix + path: app for prefix in PREFIXES for path, app in SOCKETS.items()}
HOSTS = AllowedHosts(settings.ALLOWED_HOSTS)
_django = DjangoHandler()
logger = logging.getLogger("tollgate.asgi")


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Dispatch one ASGI scope."""
    if scope["type"] != "lifespan":
        scope[app_state.KEY] = worker.current().state
    match scope["type"]:
        case "http":
            app = TABLE.get((scope["method"], scope["path"])) or _handle_unlisted(scope)
            if not _is_allowed_host(scope) and scope["path"].rstrip("/") not in HEALTH:
                app = _wrong_host
            await app(scope, receive, send)
        case "websocket":
            app = SOCKET_TABLE.get(path := scope["path"].rstrip("/")) or _no_socket
            if path == CONSOLE_SOCKET:
                app = _console_socket
            await (app if _is_allowed_host(scope) else _no_socket)(scope, receive, send)
        case "lifespan":
            await _live(receive, send)


def _handle_unlisted(scope: Scope) -> ASGIApp:
    """Handle what the table does not list: a trailing slash, a wrong method, or one of Django's routes."""
    path = scope["path"].rstrip("/")
    return (
        TABLE.get((scope["method"], path))
        or WRONG_METHOD.get(path)
        or HEALTH.get(path)
        or METRICS.get(path)
        or (FOLLOW if follow.is_asked_for(scope) else _with_request_id)
    )


def _is_allowed_host(scope: Scope) -> bool:
    """Tell whether the request names exactly one host, and it is ours. Health checks come by address and
    are exempt.
    """
    named = [value for name, value in scope["headers"] if name == b"host"]
    return len(named) == 1 and HOSTS.allows(named[0])


def _host_not_allowed(scope: Scope) -> HostNotAllowed:
    named = b", ".join(value for name, value in scope["headers"] if name == b"host")
    return HostNotAllowed(named.decode("latin-1"))


async def _wrong_host(scope: Scope, receive: Receive, send: Send) -> None:
    request_id = ids.request_id()
    line, reply = (
        RequestLine(app_state.of(scope).services, scope, request_id),
        HttpResponseWriter(send, request_id),
    )
    await _send_error(scope, reply, line, _host_not_allowed(scope))


async def _send_error(
    scope: Scope, reply: HttpResponseWriter, line: RequestLine, error: GatewayError
) -> None:
    """Send an error in the format of the route that was asked for."""
    note(scope, error=error.code)
    line.write(error.http_status)
    if is_management(scope["path"]):
        await reply.problem(error)
    else:
        await (reply.error(error) if is_api(scope["path"]) else reply.error_page(error))


async def _with_request_id(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve Django's pages and routes, adding the x-request-id that every other response carries."""
    request_id = ids.request_id()
    line, reply = (
        RequestLine(app_state.of(scope).services, scope, request_id),
        HttpResponseWriter(send, request_id),
    )
    asked = dict(scope)
    bounded = Bounded(app_state.of(scope).services, asked, receive, reply.pass_on)
    try:
        if (refusal := await guard.refusal(asked)) is not None:
            raise refusal
        await bounded.begin()
        await _ask_django(asked, bounded, reply, line)
        bounded.raise_refusal()
    except GatewayError as error:
        await _send_error(scope, reply, line, error)
    except Exception:
        logger.exception("request failed", extra={"request_id": request_id})
        if reply.started:
            raise
        await _send_error(scope, reply, line, Internal())
    finally:
        bounded.end()
        line.write(reply.status)


async def _ask_django(
    asked: dict[str, Any], bounded: Bounded, reply: HttpResponseWriter, line: RequestLine
) -> None:
    async def send_with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            await guard.note_answer(asked, message["status"])
        else:
            line.bytes_out = (line.bytes_out or 0) + len(message.get("body", b""))
            if not message.get("more_body"):
                line.write(reply.status)
        await bounded.send(message)

    await _import_pages(asked["path"])
    await _django(asked, bounded.receive, send_with_id)


async def _import_pages(path: str) -> None:
    """Import the routes that a path belongs to, when one of them is first asked for, in a thread: calls are
    answered meanwhile. Django would do it on the event loop."""
    for prefix, module in LATE_ROUTES.items():
        if path.startswith(prefix) and module not in imported_routes:
            await asyncio.to_thread(importlib.import_module, module)
            imported_routes.add(module)


async def _metrics(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve the metrics; who may not read them is told what is told of any unknown path."""
    if not await metrics_route.answer(scope, send, app_state.of(scope).services.doorkeeper):
        await _with_request_id(scope, receive, send)


async def _console_socket(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve the console's socket. The first one imports the pages whose topics it tells."""
    await _import_pages(CONSOLE)
    from gateway_project.serving.console_socket import ConsoleSocket  # noqa: PLC0415

    await ConsoleSocket()(scope, receive, send)


async def _no_socket(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    error: GatewayError = NotFound("There is no WebSocket endpoint at this address.")
    if not _is_allowed_host(scope):
        error = _host_not_allowed(scope)
    request_id = ids.request_id()
    note(scope, error=error.code)
    RequestLine(app_state.of(scope).services, scope, request_id).write(error.http_status)
    await refuse(scope, send, error, request_id)


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
        allowed=", ".join(sorted(method for method, other in TABLE if other == path)),
        let_in=guard.refusal,
    )
    for _, path in TABLE
}
METRICS: dict[str, ASGIApp] = {} if settings.METRICS_TOKEN is None else {"/metrics": _metrics}
HEALTH: dict[str, ASGIApp] = {"/healthz": health.alive, "/readyz": health.ready}
