"""Write the lifecycle events of a Responses stream that are the gateway's own, by relay and by
translation."""

from __future__ import annotations

import orjson

from gateway_project.lib.json import Json
from gateway_project.lib.sse import DONE, named_event
from responses_api.stream.upstream_reader import Identity

CREATED = b"response.created"
QUEUED = b"response.queued"
IN_PROGRESS = b"response.in_progress"
KEEPALIVE = b"keepalive"


def event(kind: bytes, number: int, fields: Json) -> bytes:
    """Write one event; its name is its type (docs/wire.md 2.1)."""
    body = {"type": kind.decode(), "sequence_number": number, **fields}
    return named_event(kind, orjson.dumps(body))


def lifecycle(kind: bytes, number: int, response: bytes) -> bytes:
    """Write an event with the whole Response, given as JSON: it often is large and goes out more than
    once."""
    head = b'{"type":"%b","sequence_number":%d,"response":' % (kind, number)
    return named_event(kind, b"%b%b}" % (head, response))


def announcement(identity: Identity, response: Json) -> bytes:
    """Write `response.created` once for all attempts of a call; a keep-alive if it was sent before."""
    if CREATED in identity.announced:
        return keepalive(0)
    identity.announced.add(CREATED)
    return event(CREATED, 0, {"response": response})


def keepalive(last_number: int) -> bytes:
    """Write the one event all clients ignore; it repeats a number and uses up none (docs/wire.md 5.5)."""
    return event(KEEPALIVE, max(last_number, 0), {})


def terminal(number: int, response: Json) -> bytes:
    """Write the event named after the Response's status, then `[DONE]`. No `error` event goes before a
    failure, because Codex ignores it (docs/wire.md 5.4). No event is named after a cancellation, and SDKs
    refuse those they do not know (docs/wire.md 5.2)."""
    status = response["status"]
    kind = "response.incomplete" if status == "cancelled" else f"response.{status}"
    return event(kind.encode(), number, {"response": response}) + DONE
