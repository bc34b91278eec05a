"""Refusing a WebSocket before it is one."""

from __future__ import annotations

import orjson

from gateway_project.lib.asgi import Scope, Send
from gateway_project.lib.errors import GatewayError

POLICY = 1008
_EXTENSION = "websocket.http.response"


async def refuse(scope: Scope, send: Send, error: GatewayError, request_id: str) -> None:
    """As an HTTP error like any other where the server can do that; otherwise it makes a 403 of it."""
    if _EXTENSION not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": POLICY})
        return
    headers = {"content-type": "application/json", "x-request-id": request_id, **error.headers()}
    await send(
        {
            "type": f"{_EXTENSION}.start",
            "status": error.http_status,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": f"{_EXTENSION}.body", "body": orjson.dumps(error.body())})
