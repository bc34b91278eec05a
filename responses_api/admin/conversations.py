"""The pages on conversations: to read, and to remove."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from responses_api.admin.browsing import items_shown
from responses_api.models import Conversation, ConversationItem
from responses_api.storage import removal
from tenants.access import Area
from tenants.admin.browsing import BrowsingAdmin
from tenants.scoped_admin import TenantRelatedFilter


@admin.register(Conversation)
class ConversationAdmin(BrowsingAdmin):
    area = Area.RESPONSES
    rights = frozenset({"view", "delete"})
    bodies = ("metadata",)
    list_display = ("id", "tenant", "created_at")
    list_filter = (("tenant", TenantRelatedFilter),)
    sortable_by = ("created_at",)
    search_fields = ("id__exact",)
    search_help_text = "The id of a conversation."
    fields = ("id", "tenant", "metadata", "created_at", "items")
    readonly_fields = ("items",)

    @admin.display
    def items(self, row: Conversation) -> SafeString:
        items = ConversationItem.objects.filter(tenant=row.tenant_id, conversation=row.pk)
        return items_shown(items.order_by("position").values_list("body", flat=True))

    def delete_model(self, request: HttpRequest, obj: Conversation) -> None:
        removal.remove_conversations([obj.pk])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with transaction.atomic():
            removal.remove_conversations(list(queryset.values_list("pk", flat=True)))
