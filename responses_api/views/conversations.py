"""Conversations and their items."""

from __future__ import annotations

from django.conf import settings
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from responses_api.doors.metadata import decode_update
from responses_api.resources import conversation_request as door
from responses_api.storage import conversations, query
from responses_api.views.base import (
    StoredView,
    answer,
    body_of,
    check_references,
    may_read,
    tenant_of,
)


class ConversationsView(StoredView):
    """POST /conversations"""

    def post(self, request: Request) -> Response:
        items, metadata = door.decode_create(body_of(request, settings.CAPS), settings.CAPS)
        check_references(request, items)
        return Response(conversations.create(tenant_of(request), items, metadata))


class ConversationView(StoredView):
    """GET, POST and DELETE /conversations/{id}"""

    def get(self, request: Request, conversation_id: str) -> Response:
        return Response(conversations.retrieve(tenant_of(request), conversation_id))

    def post(self, request: Request, conversation_id: str) -> Response:
        metadata = decode_update(body_of(request, settings.CAPS), settings.CAPS)
        return Response(conversations.update(tenant_of(request), conversation_id, metadata))

    def delete(self, request: Request, conversation_id: str) -> Response:
        conversations.delete(tenant_of(request), conversation_id)
        return Response({"id": conversation_id, "object": "conversation.deleted", "deleted": True})


class ItemsView(StoredView):
    """GET and POST /conversations/{id}/items"""

    def get(self, request: Request, conversation_id: str) -> HttpResponseBase:
        query.check_include(request.query_params)
        paging = query.paging(request.query_params, "desc")
        return answer(request, conversations.items(tenant_of(request), conversation_id, paging))

    def post(self, request: Request, conversation_id: str) -> Response:
        query.check_include(request.query_params)
        items = door.decode_add(body_of(request, settings.CAPS), settings.CAPS)
        check_references(request, items)
        return Response(conversations.add(tenant_of(request), conversation_id, items))


class ItemView(StoredView):
    """GET and DELETE /conversations/{id}/items/{id}"""

    def get(self, request: Request, conversation_id: str, item_id: str) -> HttpResponseBase:
        query.check_include(request.query_params)
        return answer(request, conversations.item(tenant_of(request), conversation_id, item_id))

    def delete(self, request: Request, conversation_id: str, item_id: str) -> Response:
        conversation = conversations.delete_item(tenant_of(request), conversation_id, item_id)
        if not may_read(request):
            conversation = {"id": conversation_id, "object": "conversation"}
        return Response(conversation)
