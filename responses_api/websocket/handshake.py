"""Refuse a WebSocket before it is opened."""

from __future__ import annotations

from gateway_project.lib.asgi import Scope, Send
from gateway_project.lib.errors import GatewayError
from responses_api.stream.error_body import openai_error

POLICY = 1008
_EXTENSION = "websocket.http.response"


async def refuse(scope: Scope, send: Send, error: GatewayError, request_id: str) -> None:
    """Refuse with an ordinary HTTP error if the server can send one; otherwise it sends a 403."""
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
    await send({"type": f"{_EXTENSION}.body", "body": openai_error(error)})
