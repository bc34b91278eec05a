"""What the views of stored things share."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.views import APIView

from gateway_project.lib import structure
from gateway_project.lib.errors import RequestTooComplex
from gateway_project.lib.structure import Caps, TooMuchStructure
from responses_api.rest import caller_of


class StoredView(APIView):
    """Reading needs one scope, everything else another."""

    scope = "read"
    write_scope = "store"


def tenant_of(request: Request) -> int:
    """The id of the tenant that asks; every look-up takes it."""
    return caller_of(request).tenant_id


def body_of(request: Request, caps: Caps) -> bytes:
    """The body as it came, with no more structure than `caps` allow; the doors read it. Raises
    RequestTooComplex."""
    body: bytes = request._request.body
    try:
        structure.check(body, caps)
    except TooMuchStructure as error:
        raise RequestTooComplex(error.cap, error.most) from None
    return body
