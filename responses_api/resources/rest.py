"""Authenticate DRF routes and answer their errors exactly like the generation routes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.core.handlers.asgi import ASGIRequest
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import errors
from gateway_project.lib.asgi import CLIENT, Scope, note
from gateway_project.lib.client_address import client_address
from tenants.keys import authentication, caller

if TYPE_CHECKING:  # its module imports this one through the settings
    from rest_framework.views import APIView

logger = logging.getLogger("tollgate.rest")

# Set in the scope of a request whose answer is not held in memory as a whole.
HELD = "tollgate.held"


class KeyAuthentication(BaseAuthentication):
    """Authentication by API key; `request.user` becomes the key's Caller."""

    def authenticate(self, request: Request) -> tuple[caller.Caller, None]:
        found = caller.find(authentication.key_of(raw_headers(request)))
        if found is None:
            raise errors.Unauthenticated
        note(_scope(request), tenant=found.tenant_slug, key=found.key_public_id)
        return found, None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class HasKey(BasePermission):
    """Permission for a key with the scope the view names; for changes, with its `write_scope`."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        scope: str = getattr(view, "scope", "")
        if request.method not in SAFE_METHODS:
            scope = getattr(view, "write_scope", scope)
        caller_of(request).admit(scope, address_of(request))
        return True


def caller_of(request: Request) -> caller.Caller:
    """Return the authenticated Caller of a DRF request."""
    found = request.user
    if not isinstance(found, caller.Caller):
        raise errors.Unauthenticated
    return found


def raw_headers(request: Request) -> list[tuple[bytes, bytes]]:
    """Return the headers as ASGI gives them, with repeated ones kept apart."""
    headers: list[tuple[bytes, bytes]] = _scope(request)["headers"]
    return headers


def address_of(request: Request) -> str:
    """Return the address of the client, seen through trusted proxies."""
    scope = _scope(request)
    known: str | None = scope.get(CLIENT)  # the guard has worked it out
    if known is not None:
        return known
    return client_address(scope.get("client"), scope["headers"], settings.TRUSTED_PROXIES)


def note_held(request: Request, size: int) -> None:
    """Note how many bytes of the answer stay in memory until its client took them."""
    request._request.scope[HELD] = size  # type: ignore[attr-defined]  # Tollgate is served over ASGI only


def _scope(request: Request) -> Scope:
    django_request = request._request
    assert isinstance(django_request, ASGIRequest)  # Tollgate is served over ASGI only
    return cast("Scope", django_request.scope)


def exception_handler(error: Exception, context: dict[str, Any]) -> Response:
    """Answer any exception of a view with OpenAI's envelope."""
    known = _as_gateway_error(error, context["request"])
    note(_scope(context["request"]), error=known.code)
    if isinstance(known, errors.Internal):
        logger.error("view failed", exc_info=error)
    return Response(known.body(), status=known.http_status, headers=known.headers())


def _as_gateway_error(error: Exception, request: Request) -> errors.GatewayError:
    match error:
        case errors.GatewayError():
            return error
        case Http404() | exceptions.NotFound():
            return errors.NotFound("There is nothing at this address.")
        case exceptions.MethodNotAllowed():
            allowed = _allowed_methods(request)
            return method_not_allowed(request.method or "", request.path, allowed)
        case exceptions.ParseError():
            return errors.InvalidJson("The body is not valid JSON.")
        case exceptions.APIException():
            return errors.BadRequest(str(error.detail))
        case RequestDataTooBig():
            limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
            return errors.PayloadTooLarge(f"The request body is larger than {limit} bytes.")
        case SuspiciousOperation():
            return errors.BadRequest(f"The request was refused: {str(error)[:200]}")
        case OperationalError() | InterfaceError():
            message = "The database is unavailable; try again."
            return errors.Unavailable(message, retry_after_seconds=2)
        case _:
            return errors.Internal()


def _allowed_methods(request: Request) -> str:
    """Return the `Allow` header of the view that is answering."""
    view: APIView | None = request.parser_context.get("view") if request.parser_context else None
    return ", ".join(view.allowed_methods) if view is not None else "GET"


def method_not_allowed(method: str, path: str, allowed: str) -> errors.MethodNotAllowed:
    """Return the error for a wrong method, worded alike on all routes."""
    return errors.MethodNotAllowed(f"{method} is not allowed on {path}; use {allowed}.", allowed)
