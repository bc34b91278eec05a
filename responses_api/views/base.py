"""What the views of stored things share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rest_framework.request import Request
from rest_framework.views import APIView

from gateway_project.lib.errors import PermissionDenied
from responses_api.doors.responses import item_kind
from responses_api.rest import caller_of

Json = dict[str, Any]


class StoredView(APIView):
    """Reading needs one scope, everything else another."""

    scope = "read"
    write_scope = "store"


def tenant_of(request: Request) -> int:
    """The id of the tenant that asks; every look-up takes it."""
    return caller_of(request).tenant_id


def may_read(request: Request) -> bool:
    """Whether the key may be told what is stored; what changes something answers with less otherwise."""
    return StoredView.scope in caller_of(request).scopes


def check_references(request: Request, items: Iterable[Json]) -> None:
    """Raise PermissionDenied where a key without `read` would get stored items by naming them."""
    if not may_read(request) and any(item_kind(item) == "item_reference" for item in items):
        raise PermissionDenied(
            "This API key lacks the scope 'read', so it cannot use what is stored."
        )


def body_of(request: Request) -> bytes:
    """The body as it came; the doors read it."""
    body: bytes = request._request.body
    return body
