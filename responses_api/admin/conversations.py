"""Console pages of conversations: view and remove."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from responses_api.admin.browsing import PrivateAdmin
from responses_api.admin.talk import talk_of
from responses_api.models import Conversation, ConversationItem
from responses_api.storage.managed import CONVERSATIONS
from tenants.console.actions import console_action
from tenants.console.scoped_admin import TenantRelatedFilter
from tenants.console.search import FoundBy


@admin.register(Conversation)
class ConversationAdmin(PrivateAdmin):
    resource = CONVERSATIONS
    found_by = FoundBy(ids=("pk",))
    bodies = ("metadata",)
    when_empty = gettext_lazy("One begins where a client sends POST /v1/conversations.")
    list_display = ("id", "tenant", "created_at")
    list_filter = (("tenant", TenantRelatedFilter),)
    sortable_by = ("created_at",)
    search_fields = ("id__exact",)
    search_help_text = gettext_lazy("The id of a conversation.")
    fields = ("id", "tenant", "metadata", "created_at")
    lists = "conversations"

    def panels(self, request: HttpRequest, row: Conversation) -> dict[str, Any]:
        items = ConversationItem.objects.filter(tenant=row.tenant_id, conversation=row.pk)
        return {"talk": talk_of(items.order_by("position"))}

    @console_action(
        gettext_lazy("Delete"),
        right="delete",
        asks=gettext_lazy(
            "The conversation and all its items are deleted, for good. Responses that were made in it stay, "
            "with their own copies of what was said, but nobody can continue the conversation."
        ),
        is_harmful=True,
    )
    def remove(self, request: HttpRequest, row: Conversation) -> HttpResponse:
        return self.removed(request, row, _("The conversation is deleted."))
