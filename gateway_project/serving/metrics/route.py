"""Serve metrics on the gateway's own port, to whoever has the token. To all others there is no such page."""

from __future__ import annotations

import asyncio

from django.conf import settings

from gateway_project.lib.asgi import Scope, Send, header
from gateway_project.lib.errors import GatewayError
from gateway_project.serving.metrics import report
from gateway_project.serving.metrics.report import may_read
from tenants.keys.doorkeeper import Doorkeeper


async def answer(scope: Scope, send: Send, doorkeeper: Doorkeeper) -> bool:
    """Answer with the metrics; return False to whoever may not read them."""
    if scope["method"] != "GET" or not await _is_let_in(scope, doorkeeper):
        return False
    accept = header(scope["headers"], b"accept").decode("latin-1")
    kind, text = await asyncio.to_thread(report.from_settings().in_format, accept)
    headers = [
        (b"content-type", kind.encode()),
        (b"vary", b"accept"),
        (b"content-length", str(len(text)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})
    return True


async def _is_let_in(scope: Scope, doorkeeper: Doorkeeper) -> bool:
    """Tell whether the request has the token. Wrong ones count like wrong keys, so that nobody can go
    through them."""
    token, given = settings.METRICS_TOKEN, header(scope["headers"], b"authorization")
    if token is None or not given:
        return False
    address = doorkeeper.address_of(scope)
    try:
        await doorkeeper.look(address)
        if may_read(given, token):
            return True
        await doorkeeper.note_failure(address)
    except GatewayError:
        return False
    return False
