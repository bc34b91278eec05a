"""Share what all routes of the management API have in common: who asks, how bodies and errors look."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import orjson
from django.core.exceptions import (
    NON_FIELD_ERRORS,
    ObjectDoesNotExist,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    ValidationError,
)
from django.db import InterfaceError, OperationalError
from django.http import Http404
from django.http.response import HttpResponseBase
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gateway_project.lib import errors
from gateway_project.lib.actor import acting
from gateway_project.lib.asgi import note
from gateway_project.lib.problems import CONTENT_TYPE, problem
from gateway_project.lib.rest_json import AlwaysJson, JsonRenderer
from tenants.access.access import Access, access_as
from tenants.access.addresses import address_of
from tenants.access.rights import Area, Right
from tenants.keys import api_tokens
from tenants.keys.api_tokens import TokenHolder
from tenants.managed.values import could_be_key
from tenants.members import support
from tenants.members.last_operator import LastOperator
from tenants.models import LastOwner, Tenant

logger = logging.getLogger("tollgate.management")

BEARER = "bearer "
# Names the support session in which an operator's token acts as a tenant.
SUPPORT_HEADER = "x-tollgate-support-session"


class TokenAuthentication(BaseAuthentication):
    """Authentication by API token; `request.user` becomes its holder."""

    def authenticate(self, request: Request) -> tuple[TokenHolder, None]:
        # The server has looked it up already (serving/management.py); Django's test client has no server.
        found = getattr(request._request, "scope", {}).get(api_tokens.HOLDER)
        if found is None:
            given = request.META.get("HTTP_AUTHORIZATION", "")
            is_bearer = given[: len(BEARER)].lower() == BEARER
            found = api_tokens.find(given[len(BEARER) :].strip()) if is_bearer else None
        if found is None:
            raise errors.InvalidToken
        session_id = request.headers.get(SUPPORT_HEADER)
        return (found if session_id is None else _in_support(found, session_id)), None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _in_support(holder: TokenHolder, session_id: str) -> TokenHolder:
    """Return the holder acting as a tenant: with its role and no more. Raise PermissionDenied."""
    session = support.session_of(holder.maker_id, session_id) if holder.access.is_operator else None
    if session is None:
        raise errors.PermissionDenied(
            f"The session in {SUPPORT_HEADER} is over, or is not yours; nothing was done."
        )
    return replace(
        holder,
        access=access_as(session.tenant, session.role),
        tenant_id=session.tenant_id,
        tenant_slug=session.tenant.slug,
        support_id=session.pk,
        reason=session.reason,
    )


class IsHolder(BasePermission):
    """Lets every token in; what it may do is asked where it is done."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.user, TokenHolder)


class BodyParser(BaseParser):
    """JSON whatever the Content-Type says: curl's default is another."""

    media_type = "application/json"

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        try:
            return orjson.loads(stream.read())
        except orjson.JSONDecodeError as error:
            raise errors.InvalidJson(f"The body is not valid JSON: {error}.") from error


class ManagementView(APIView):
    """A route of the management API."""

    authentication_classes = (TokenAuthentication,)
    permission_classes = (IsHolder,)
    parser_classes = (BodyParser,)
    renderer_classes = (JsonRenderer,)
    content_negotiation_class = AlwaysJson
    http_method_names = ("get", "post", "patch", "delete", "head")

    def dispatch(self, request: Any, *args: Any, **options: Any) -> HttpResponseBase:
        with ExitStack() as self._acting:
            return super().dispatch(request, *args, **options)

    def initial(self, request: Request, *args: Any, **options: Any) -> None:
        super().initial(request, *args, **options)
        self._acting.enter_context(acting(holder_of(request).actor(address_of(request._request))))

    def get_exception_handler(self) -> Any:
        return answer_error


def holder_of(request: Request) -> TokenHolder:
    """Return whose token it is."""
    found = request.user
    if not isinstance(found, TokenHolder):
        raise errors.InvalidToken
    return found


def access_of(request: Request) -> Access:
    """Return what the token may."""
    return holder_of(request).access


def refuse_unless_somewhere(who: Access, right: Right, area: Area) -> None:
    """Raise PermissionDenied for whoever may do this nowhere."""
    if not who.may_somewhere(right, area):
        raise PermissionDenied


def tenant_asked_for(who: Access, text: str | None) -> Tenant | None:
    """Return the tenant that a parameter names; None for none. Raise Http404 for one that the token has no
    part in.
    """
    if text is None:
        return None
    rows = (
        Tenant.objects.all() if who.sees_all_tenants else Tenant.objects.filter(pk__in=who.tenants)
    )
    found = rows.filter(pk=text).first() if could_be_key(Tenant, "pk", text) else None
    if found is None:
        raise Http404
    return found


def body_of(request: Request, names: Iterable[str] | None = None) -> dict[str, Any]:
    """Return the body, an object; empty if there is none. Raise InvalidFields for names it may not have."""
    if not request._request.body:
        return {}
    data = request.data
    if not isinstance(data, dict):
        raise errors.InvalidFields({"": ["The body must be a JSON object."]})
    if names is not None and (unknown := sorted(set(data) - set(names))):
        raise errors.InvalidFields({name: ["There is no such field."] for name in unknown})
    return data


def answer_error(error: Exception, context: dict[str, Any]) -> Response:
    """Answer any exception of a view with problem details."""
    request: Request = context["request"]
    known = _as_gateway_error(error, context)
    if (scope := getattr(request._request, "scope", None)) is not None:
        note(scope, error=known.code)
    if isinstance(known, errors.Internal):
        logger.error("view failed", exc_info=error)
    return Response(
        problem(known),
        status=known.http_status,
        headers=known.headers(),
        content_type=CONTENT_TYPE,
    )


def _as_gateway_error(error: Exception, context: dict[str, Any]) -> errors.GatewayError:
    match error:
        case errors.GatewayError():
            return error
        case LastOwner() | LastOperator():
            return errors.Conflict(" ".join(error.messages))
        case ValidationError():
            return of_validation(error)
        case PermissionDenied():
            return errors.PermissionDenied(str(error) or "This token may not do this.")
        case Http404() | ObjectDoesNotExist():
            return errors.NotFound("There is nothing at this address that this token may see.")
        case OperationalError() | InterfaceError():
            message = "The database is unavailable; try again."
            return errors.Unavailable(message, retry_after_seconds=2)
    return _of_framework(error, context)


def _of_framework(error: Exception, context: dict[str, Any]) -> errors.GatewayError:
    """Return the error for what Django or its REST framework refused before a view ran."""
    match error:
        case exceptions.MethodNotAllowed():
            allowed = ", ".join(context["view"].allowed_methods)
            message = f"{context['request'].method} is not allowed here; use {allowed}."
            return errors.MethodNotAllowed(message, allowed)
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return errors.InvalidToken()
        case exceptions.APIException():
            return errors.BadRequest(str(error.detail))
        case RequestDataTooBig():
            return errors.PayloadTooLarge("The request body is too large.")
        case SuspiciousOperation():
            return errors.BadRequest(f"The request was refused: {str(error)[:200]}")
    return errors.Internal()


def of_validation(error: ValidationError) -> errors.GatewayError:
    """Return the error for what cannot be saved, with sentences by field."""
    if hasattr(error, "error_dict"):
        return errors.InvalidFields(
            {
                "" if name == NON_FIELD_ERRORS else name: [str(each) for each in sentences]
                for name, sentences in error.message_dict.items()
            }
        )
    if getattr(error, "code", None) == "conflict":
        return errors.Conflict(" ".join(error.messages))
    return errors.InvalidFields({"": list(error.messages)})
