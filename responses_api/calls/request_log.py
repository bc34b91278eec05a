"""Log requests that make no call: those that read or change stored things, pages, and what is refused."""

from __future__ import annotations

import re
from typing import Any

from gateway_project.lib import current_request
from gateway_project.lib.asgi import LOG_FIELDS, Scope
from gateway_project.lib.errors import Unauthenticated
from gateway_project.lib.log import scrub_text
from gateway_project.lib.prefixes import is_api, is_management
from responses_api.services import Services
from tenants.keys.authentication import claimed_id

MAX_PATH = 200
# Whoever has the address may accept the invitation, or choose the password.
_SECRET_PLACE = re.compile(r"(/invitations/|/password/reset/key/[0-9A-Za-z]+-)[^/]+")


class RequestLine:
    """The log line of the current request, written before the client has the whole answer. Views note what
    they know in its scope first."""

    __slots__ = ("_fields", "_is_written", "_request", "_scope", "_services", "bytes_out")

    def __init__(self, services: Services, scope: Scope, request_id: str) -> None:
        """Begin the request, unless it was begun."""
        request = current_request.current()
        if request is None or request.request_id != request_id:
            request = current_request.enter(request_id, scope["headers"], services.tracer)
        self._request = request
        self._services = services
        self._scope = scope
        self._is_written = False
        self._fields: dict[str, Any] = scope.setdefault(LOG_FIELDS, {})
        self.bytes_out: int | None = None  # of the body, if it is counted

    def write(self, http_status: int) -> None:
        """Write the line the first time this is called, and keep the request's trace. `http_status` is 0 if
        the client was gone before any answer."""
        if self._is_written:
            return
        self._is_written = True
        scope, noted, request = self._scope, self._fields, self._request
        fields = {
            "event": "request",
            **request.log_fields(),
            "client": self._services.doorkeeper.address_of(scope),
            "method": scope.get("method", "GET"),
            "path": _path(scope["path"]),
            "tenant": noted.get("tenant"),
            "key": noted.get("key"),
            "account": noted.get("account"),
            "http_status": http_status,
            "error": noted.get("error"),
            "duration_ms": round(request.duration_ms, 3),
            "bytes_out": self.bytes_out,
        }
        if http_status == Unauthenticated.status:
            fields["claimed_key"] = claimed_id(scope["headers"])
        is_page = not (is_api(scope["path"]) or is_management(scope["path"]))
        self._services.request_log.write(fields, is_page=is_page)
        if request.tracer is not None:
            is_known = fields["key"] is not None or fields["account"] is not None
            has_failed = http_status >= 400
            request.tracer.keep(request, (fields, None), failed=has_failed, is_known=is_known)


def _path(path: str) -> str:
    return _SECRET_PLACE.sub(r"\1***", scrub_text(path[:MAX_PATH]))
