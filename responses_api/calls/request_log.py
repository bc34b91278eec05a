"""Log requests that make no call: those that read or change stored things, and those that are refused."""

from __future__ import annotations

from typing import Any

from gateway_project.lib import clock
from gateway_project.lib.asgi import LOG_FIELDS, Scope
from gateway_project.lib.errors import Unauthenticated
from gateway_project.lib.log import scrub_text
from responses_api.services import Services
from tenants.keys.authentication import claimed_id

MAX_PATH = 200


class RequestLine:
    """The log line of one request, written before the client has the whole answer. Views note what they
    know in its scope first."""

    __slots__ = ("_began", "_fields", "_is_written", "_request_id", "_scope", "_services")

    def __init__(self, services: Services, scope: Scope, request_id: str) -> None:
        self._services = services
        self._scope = scope
        self._request_id = request_id
        self._began = clock.monotonic()
        self._is_written = False
        self._fields: dict[str, Any] = scope.setdefault(LOG_FIELDS, {})

    def write(self, http_status: int) -> None:
        """Write the line the first time this is called. `http_status` is 0 if the client was gone before
        any answer."""
        if self._is_written:
            return
        self._is_written = True
        scope, noted = self._scope, self._fields
        fields = {
            "event": "request",
            "request_id": self._request_id,
            "client": self._services.doorkeeper.address_of(scope),
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
        self._services.request_log.write(fields)
