"""Health checks, for load balancers and container platforms. They need no key and tell no secret."""

from __future__ import annotations

import orjson

from gateway_project.lib import ids
from gateway_project.lib.asgi import Receive, Scope, Send
from gateway_project.serving import worker
from responses_api.process.response_writer import HttpResponseWriter


async def alive(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 200 as long as the process answers at all."""
    await HttpResponseWriter(send, ids.request_id()).json(200, orjson.dumps({"status": "alive"}))


async def ready(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 200 when new work can be taken, otherwise 503 with what is missing.

    A fault that delays some work but costs no call anything is reported as a warning: a load balancer
    must not take servers out for it.
    """
    here = worker.current()
    checks = here.ready
    good = all(checks.values())
    body = {
        "status": "ready" if good else "not ready",
        "checks": checks,
        "warnings": here.peers.missing(),
    }
    await HttpResponseWriter(send, ids.request_id()).json(200 if good else 503, orjson.dumps(body))
