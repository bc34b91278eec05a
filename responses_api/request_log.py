"""The log line of a request that makes no call: reading and changing what is stored, and what is refused."""

from __future__ import annotations

from typing import Any

from gateway_project.lib import clock
from gateway_project.lib.asgi import LOG_FIELDS, Scope
from gateway_project.lib.errors import Unauthenticated
from gateway_project.lib.log import scrub_text
from responses_api import worker
from tenants.authentication import claimed_id

MAX_PATH = 200


class RequestLine:
    """Written once, before the client has the whole answer; views note what they know in its scope first."""

    __slots__ = ("_began", "_fields", "_is_written", "_request_id", "_scope")

    def __init__(self, scope: Scope, request_id: str) -> None:
        self._scope = scope
        self._request_id = request_id
        self._began = clock.monotonic()
        self._is_written = False
        self._fields: dict[str, Any] = scope.setdefault(LOG_FIELDS, {})

    def write(self, http_status: int) -> None:
        """Only the first time. `http_status` is 0 if the client was gone before it was told anything."""
        if self._is_written:
            return
        self._is_written = True
        scope, noted = self._scope, self._fields
        here = worker.current()
        fields = {
            "event": "request",
            "request_id": self._request_id,
            "client": here.doorkeeper.address_of(scope),
            "method": scope.get("method", "GET"),
            "path": scrub_text(scope["path"][:MAX_PATH]),
            "tenant": noted.get("tenant"),
            "key": noted.get("key"),
            "http_status": http_status,
            "error": noted.get("error"),
            "duration_ms": round((clock.monotonic() - self._began) * 1000, 3),
        }
        if http_status == Unauthenticated.status:
            fields["claimed_key"] = claimed_id(scope["headers"])
        here.request_log.write(fields)
