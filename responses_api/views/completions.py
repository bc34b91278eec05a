"""Stored chat completions: GET /chat/completions, and what stands below it."""

from __future__ import annotations

from django.conf import settings
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from responses_api.doors.metadata import decode_update
from responses_api.storage import completions, query
from responses_api.views.base import StoredView, answer, body_of, may_read, tenant_of


class CompletionsView(StoredView):
    """GET /chat/completions; a consumer takes the POST."""

    def get(self, request: Request) -> HttpResponseBase:
        params = request.query_params
        paging, metadata = query.paging(params, "asc"), query.metadata(params)
        found = completions.page(tenant_of(request), paging, params.get("model"), metadata)
        return answer(request, found)


class CompletionView(StoredView):
    """GET, POST and DELETE /chat/completions/{id}"""

    def get(self, request: Request, completion_id: str) -> HttpResponseBase:
        return answer(request, completions.retrieve(tenant_of(request), completion_id))

    def post(self, request: Request, completion_id: str) -> HttpResponseBase:
        metadata = decode_update(body_of(request, settings.CAPS), settings.CAPS)
        updated = completions.update(tenant_of(request), completion_id, metadata)
        if not may_read(request):
            changed = {"id": completion_id, "object": "chat.completion", "metadata": metadata}
            return Response(changed)
        return answer(request, updated)

    def delete(self, request: Request, completion_id: str) -> Response:
        completions.delete(tenant_of(request), completion_id)
        return Response({"object": "chat.completion.deleted", "id": completion_id, "deleted": True})


class MessagesView(StoredView):
    """GET /chat/completions/{id}/messages"""

    def get(self, request: Request, completion_id: str) -> HttpResponseBase:
        paging = query.paging(request.query_params, "asc")
        return answer(request, completions.messages(tenant_of(request), completion_id, paging))
