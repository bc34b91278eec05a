"""Serve stored responses and conversations: read and removed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import orjson
from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from responses_api.models import Conversation, ConversationItem, Status, StoredItem, StoredResponse
from responses_api.storage.managed import CONVERSATIONS, RESPONSES, Kept
from tenants.access.access import Access
from tenants.api.base import access_of
from tenants.api.rows import PlainSerializer, Rows, RowSerializer

# Bodies are as large as what was said; one answer holds no more of them.
MAX_ITEMS = 100
MAX_ITEM_BYTES = 8 * 1024 * 1024
ITEMS_AT_ONCE = 10


class BodyField(serializers.DictField):
    """Stored JSON, as it was sent."""

    def to_representation(self, value: Any) -> Any:
        return orjson.Fragment(bytes(value))


class StoredResponseSerializer(RowSerializer):
    body = BodyField(read_only=True, help_text="The Response without its output.")

    class Meta:
        model = StoredResponse
        fields = (
            "id", "tenant", "model", "provider", "status", "background", "key_public_id",
            "parent_id", "root_id", "conversation_id", "created_at", "expires_at", "body",
        )  # fmt: skip


class ItemSerializer(PlainSerializer):
    side = serializers.CharField(source="get_side_display", read_only=True)
    body = BodyField(read_only=True)

    class Meta:
        model = StoredItem
        fields = ("side", "position", "item_id", "body")


class KeptRows(Rows):
    """Routes of prompts and answers: whoever reads one is in the audit log. Lists show none of it."""

    resource: ClassVar[Kept]

    def opened(self, who: Access, key: str) -> Any:
        """Return the row; first, so that nothing is shown that could not be recorded, note who asks."""
        row = self.one(who, key)
        self.resource.record("read", [row])
        return row


class StoredResponseRows(KeptRows):
    resource, about = RESPONSES, "stored responses"
    serializer_class = StoredResponseSerializer
    order = ("-created_at", "-pk")
    filters: ClassVar[dict[str, str]] = {
        "tenant": "tenant",
        "since": "created_at__gte",
        "until": "created_at__lt",
        "root_id": "root_id",
        "status": "status",
    }
    left_out = ("body",)
    further: ClassVar[dict[str, str]] = {"items": "get"}
    answers: ClassVar[dict[str, Any]] = {"items": ItemSerializer}

    def narrowed(self, rows: QuerySet[Any], conditions: Mapping[str, Any]) -> QuerySet[Any]:
        rows = super().narrowed(rows, conditions)
        if conditions.get("status") in {None, Status.COMPLETED}:
            return rows
        return rows.exclude(status=Status.COMPLETED)  # said as the index of such rows says it

    def items(self, request: Request, key: str) -> Response:
        """List the first items of its input and output."""
        who = access_of(request)
        return Response(self.items_of(who, self.opened(who, key)))

    def items_of(self, who: Access, row: StoredResponse) -> dict[str, Any]:
        """Return the first items of a response that was opened."""
        found = StoredItem.objects.filter(tenant=row.tenant_id, response=row.pk)
        return _first(found.order_by("side", "position"), ItemSerializer)


class ConversationSerializer(RowSerializer):
    metadata = serializers.DictField(read_only=True)

    class Meta:
        model = Conversation
        fields = ("id", "tenant", "metadata", "created_at")


class ConversationItemSerializer(PlainSerializer):
    provider = serializers.CharField(read_only=True, allow_null=True)
    body = BodyField(read_only=True)

    class Meta:
        model = ConversationItem
        fields = ("position", "item_id", "provider", "body")


class ConversationRows(KeptRows):
    resource, about = CONVERSATIONS, "conversations"
    serializer_class = ConversationSerializer
    order = ("-created_at", "-pk")
    filters: ClassVar[dict[str, str]] = {
        "tenant": "tenant",
        "since": "created_at__gte",
        "until": "created_at__lt",
    }
    further: ClassVar[dict[str, str]] = {"items": "get"}
    answers: ClassVar[dict[str, Any]] = {"items": ConversationItemSerializer}

    def items(self, request: Request, key: str) -> Response:
        """List its first items."""
        who = access_of(request)
        return Response(self.items_of(who, self.opened(who, key)))

    def items_of(self, who: Access, row: Conversation) -> dict[str, Any]:
        """Return the first items of a conversation that was opened."""
        found = ConversationItem.objects.filter(tenant=row.tenant_id, conversation=row.pk)
        hidden = self.resource.hidden(who, row)
        return _first(found.order_by("position"), ConversationItemSerializer, hidden)


def _first(
    rows: QuerySet[Any], kind: type[PlainSerializer], hidden: Collection[str] = ()
) -> dict[str, Any]:
    """Return the first items, as many as fit; larger ones are not read."""
    shown: list[Any] = []
    size, has_more = 0, False
    for row in rows[: MAX_ITEMS + 1].iterator(ITEMS_AT_ONCE):
        size += len(row.body)
        if has_more := bool(shown) and (len(shown) == MAX_ITEMS or size > MAX_ITEM_BYTES):
            break
        shown.append(
            {name: None if name in hidden else value for name, value in kind(row).data.items()}
        )
    return {"data": shown, "has_more": has_more}
