"""Share what the views of stored things have in common."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.views import APIView

from gateway_project.lib import structure
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.errors import PermissionDenied, RequestTooComplex
from gateway_project.lib.json import Json
from gateway_project.lib.structure import Caps, TooMuchStructure
from responses_api.doors.responses.request import item_kind
from responses_api.resources.rest import caller_of, note_held
from responses_api.storage.pieces import LARGE_BYTES, Pieces, RowIsGone

logger = logging.getLogger("tollgate.rest")

_JSON = "application/json"


class StoredView(APIView):
    """A view of stored things: reading needs one scope, everything else another."""

    scope = "read"
    write_scope = "store"


def tenant_of(request: Request) -> int:
    """Return the id of the tenant that asks; every look-up takes it."""
    return caller_of(request).tenant_id


def may_read(request: Request) -> bool:
    """Return whether the key may see what is stored; without that, a change is answered with less."""
    return StoredView.scope in caller_of(request).scopes


def check_references(request: Request, items: Iterable[Json]) -> None:
    """Raise PermissionDenied if a key without `read` would get stored items by naming them."""
    if not may_read(request) and any(item_kind(item) == "item_reference" for item in items):
        raise PermissionDenied(
            "This API key lacks the scope 'read', so it cannot use stored responses, "
            "conversations or items."
        )


def answer(request: Request, found: Pieces) -> HttpResponseBase:
    """Answer with stored JSON. A large one is read and sent piece by piece, as its client takes it."""
    if found.size <= LARGE_BYTES:
        return HttpResponse(found.whole(), content_type=_JSON)
    note_held(request, found.held)
    length = {"content-length": str(found.size)}
    return StreamingHttpResponse(_sent(found), content_type=_JSON, headers=length)


async def _sent(found: Pieces) -> AsyncIterator[bytes]:
    """Yield the pieces. If one cannot be read, the answer breaks off in the middle, so that nobody takes
    it for complete."""
    try:
        async for piece in found.sent():
            yield piece
    except (RowIsGone, StoreUnavailable) as error:
        logger.warning("a stored answer was cut off: %s", type(error).__name__)
        raise asyncio.CancelledError from error  # the same as when the client leaves


def body_of(request: Request, caps: Caps) -> bytes:
    """Return the body as it came, with no more structure than `caps` allow; the doors decode it. Raise
    RequestTooComplex."""
    body: bytes = request._request.body
    try:
        structure.check(caps, body)
    except TooMuchStructure as error:
        raise RequestTooComplex(error.cap, error.most) from None
    return body
