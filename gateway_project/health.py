"""Health checks, for load balancers and container platforms. They need no key and tell no secret."""

from __future__ import annotations

import orjson

from gateway_project.lib import ids
from gateway_project.lib.asgi import Receive, Scope, Send
from responses_api import worker
from responses_api.reply import HttpReply


async def alive(scope: Scope, receive: Receive, send: Send) -> None:
    """200 as long as the process answers at all."""
    await HttpReply(send, ids.request_id()).json(200, orjson.dumps({"status": "alive"}))


async def ready(scope: Scope, receive: Receive, send: Send) -> None:
    """200 when new work can be taken, 503 with what is missing otherwise. What keeps some work from being
    done and calls from nothing is told as a warning: a balancer must not take servers out for it."""
    here = worker.current()
    checks = here.ready
    good = all(checks.values())
    body = {
        "status": "ready" if good else "not ready",
        "checks": checks,
        "warnings": here.peers.missing(),
    }
    await HttpReply(send, ids.request_id()).json(200 if good else 503, orjson.dumps(body))
