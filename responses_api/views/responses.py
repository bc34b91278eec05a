"""Stored responses: GET and DELETE /responses/{id}, its input items, and cancelling it."""

from __future__ import annotations

from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from responses_api.background import cancelling
from responses_api.storage import erasing, query, reading
from responses_api.views.base import StoredView, answer, may_read, tenant_of


class ResponseView(StoredView):
    """GET and DELETE /responses/{id}"""

    def get(self, request: Request, response_id: str) -> HttpResponseBase:
        query.check_include(request.query_params)
        return answer(request, reading.response(tenant_of(request), response_id))

    def delete(self, request: Request, response_id: str) -> Response:
        erasing.erase(tenant_of(request), response_id)
        return Response({"id": response_id, "object": "response", "deleted": True})


class InputItemsView(StoredView):
    """GET /responses/{id}/input_items"""

    def get(self, request: Request, response_id: str) -> HttpResponseBase:
        query.check_include(request.query_params)
        paging = query.paging(request.query_params, "desc")
        return answer(request, reading.input_items(tenant_of(request), response_id, paging))


class CancelView(StoredView):
    """POST /responses/{id}/cancel; a key that may start a response may end it."""

    write_scope = "generate"

    def post(self, request: Request, response_id: str) -> HttpResponseBase:
        ended = cancelling.cancel(tenant_of(request), response_id, in_full=may_read(request))
        return answer(request, ended)
