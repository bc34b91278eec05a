"""The pages on stored responses: to read, and to remove."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from responses_api.admin.browsing import items_shown, shown
from responses_api.models import Status, StoredItem, StoredResponse
from responses_api.storage import removal
from tenants.access import Area
from tenants.admin.browsing import BrowsingAdmin
from tenants.scoped_admin import TenantRelatedFilter

Side = StoredItem.Side
MAX_FOUND = 1000


class StatusFilter(admin.SimpleListFilter):
    """By the status column. Those that are not completed are few, and have an index of their own."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(value), str(label)) for value, label in Status.choices]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[StoredResponse]
    ) -> QuerySet[StoredResponse]:
        if self.value() is None:
            return queryset
        chosen = queryset.filter(status=self.value())
        if self.value() == Status.COMPLETED:
            return chosen
        return chosen.exclude(
            status=Status.COMPLETED
        )  # how SQLite knows that it may use that index


@admin.register(StoredResponse)
class StoredResponseAdmin(BrowsingAdmin):
    area = Area.RESPONSES
    rights = frozenset({"view", "delete"})
    bodies = ("body",)
    list_display = (
        "id",
        "tenant",
        "model",
        "provider",
        "status",
        "background",
        "created_at",
        "expires_at",
    )
    list_filter = (StatusFilter, ("tenant", TenantRelatedFilter))
    sortable_by = ("created_at",)
    search_fields = ("id",)  # see get_search_results
    search_help_text = "The id of a response; that of a chain's first one finds the whole chain."
    fields = (
        "id",
        "tenant",
        "model",
        "provider",
        "status",
        "background",
        "key_public_id",
        "parent_id",
        "chain",
        "conversation_id",
        "created_at",
        "expires_at",
        "response",
        "input",
        "output",
    )
    readonly_fields = ("chain", "response", "input", "output")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By exact id. Asked apart from the tenant, because SQLite would go through all of the tenant's."""
        if not search_term:
            return queryset, False
        known = StoredResponse.objects.filter(Q(pk=search_term) | Q(root_id=search_term)).order_by()
        found = list(known.values_list("pk", flat=True)[:MAX_FOUND])
        return queryset.filter(pk__in=found), False

    @admin.display
    def chain(self, row: StoredResponse) -> SafeString:
        page = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
        question = urlencode({"q": row.root_id})
        return format_html('<a href="{}?{}">{}</a>', page, question, row.root_id)

    @admin.display
    def response(self, row: StoredResponse) -> SafeString:
        return shown(row.body)

    @admin.display
    def input(self, row: StoredResponse) -> SafeString:
        return items_shown(_items(row, Side.INPUT))

    @admin.display
    def output(self, row: StoredResponse) -> SafeString:
        return items_shown(_items(row, Side.OUTPUT))

    def delete_model(self, request: HttpRequest, obj: StoredResponse) -> None:
        removal.remove_responses([obj.pk])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with transaction.atomic():
            removal.remove_responses(list(queryset.values_list("pk", flat=True)))


def _items(row: StoredResponse, side: Side) -> QuerySet[StoredItem, Any]:
    items = StoredItem.objects.filter(tenant=row.tenant_id, response=row.pk, side=side)
    return items.order_by("position").values_list("body", flat=True)
