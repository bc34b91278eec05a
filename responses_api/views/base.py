"""What the views of stored things share."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.views import APIView

from responses_api.rest import caller_of


class StoredView(APIView):
    """Reading needs one scope, everything else another."""

    scope = "read"
    write_scope = "store"


def tenant_of(request: Request) -> int:
    """The id of the tenant that asks; every look-up takes it."""
    return caller_of(request).tenant_id


def body_of(request: Request) -> bytes:
    """The body as it came; the doors read it."""
    body: bytes = request._request.body
    return body
