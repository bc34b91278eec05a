"""Render errors of the management API as problem details (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson

from gateway_project.lib.errors import GatewayError, InvalidFields

CONTENT_TYPE = "application/problem+json"


def problem(error: GatewayError) -> dict[str, Any]:
    """Return the details: `code` is what programs compare, `errors` has sentences by field."""
    status = error.http_status
    told: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.message,
        "code": error.code,
    }
    if isinstance(error, InvalidFields):
        told["errors"] = error.fields
    elif error.param is not None:
        told["errors"] = {error.param: [error.message]}
    return told


def problem_body(error: GatewayError) -> bytes:
    return orjson.dumps(problem(error))
