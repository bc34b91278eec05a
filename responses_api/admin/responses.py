"""Console pages of stored responses: view and remove."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from responses_api.admin.browsing import PrivateAdmin, format_body
from responses_api.admin.kept_words import response_words
from responses_api.admin.talk import talk_of
from responses_api.models import Status, StoredItem, StoredResponse
from responses_api.reports.chain_tree import MOST_NODES, ChainNode, tree_of
from responses_api.reports.kept_request import request_of
from responses_api.storage.managed import RESPONSES
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.console import drawing
from tenants.console.actions import console_action
from tenants.console.scope import carried, zone_of
from tenants.console.scoped_admin import TenantRelatedFilter, access
from tenants.console.search import FoundBy

MAX_FOUND = 1000
DEEPEST = 8  # what is indented further stands there, too


class StatusFilter(admin.SimpleListFilter):
    """Filter by the status column. Responses that are not completed are few and have an index of their
    own."""

    title = gettext_lazy("status")
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
        return chosen.exclude(status=Status.COMPLETED)  # tells SQLite that it may use that index


@admin.register(StoredResponse)
class StoredResponseAdmin(PrivateAdmin):
    resource = RESPONSES
    found_by = FoundBy(ids=("pk",))
    bodies = ("body",)
    when_empty = gettext_lazy("A response is stored unless its request says store: false.")
    list_display = (
        "id",
        "tenant",
        "model",
        "provider",
        "status_shown",
        "created_at",
        "expires_at",
    )
    list_filter = (StatusFilter, ("tenant", TenantRelatedFilter))
    sortable_by = ("created_at",)
    search_fields = ("id",)  # see get_search_results
    search_help_text = gettext_lazy(
        "The id of a response; the id of a chain's first response finds the whole chain."
    )
    fields = (
        "id",
        "tenant",
        "model",
        "provider",
        "status",
        "background",
        "key_public_id",
        "parent_id",
        "root_id",
        "conversation_id",
        "created_at",
        "expires_at",
    )
    lists = "responses"

    @admin.display(description=gettext_lazy("Status"))
    def status_shown(self, row: StoredResponse) -> SafeString:
        below = _("background") if row.background else ""
        return format_html(
            '<span>{} <span class="tg-below">{}</span></span>', row.get_status_display(), below
        )

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return self._shown(request, super().get_list_display(request), None)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return self._shown(request, super().get_fields(request, obj), obj)

    @staticmethod
    def _shown(request: HttpRequest, names: Any, row: StoredResponse | None) -> list[Any]:
        tenant = None if row is None else row.tenant_id
        is_shown = access(request).sees_upstreams_of(tenant)
        return [name for name in names if is_shown or name != "provider"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by exact id. The ids are looked up without the tenant's condition first, because SQLite
        would otherwise scan all rows of the tenant."""
        if not search_term:
            return queryset, False
        known = StoredResponse.objects.filter(Q(pk=search_term) | Q(root_id=search_term)).order_by()
        found = list(known.values_list("pk", flat=True)[:MAX_FOUND])
        return queryset.filter(pk__in=found), False

    def panels(self, request: HttpRequest, row: StoredResponse) -> dict[str, Any]:
        who, zone = access(request), zone_of(request)
        items = StoredItem.objects.filter(tenant=row.tenant_id, response=row.pk)
        tree = tree_of(row)
        return {
            "talk": talk_of(items.order_by("side", "position")),
            "state": response_words(row.status),
            "tree": [_shown_node(node, row, zone, carried(request)) for node in tree.nodes],
            "tree_is_cut": tree.is_cut,
            "most_nodes": MOST_NODES,
            "raw": format_body(row.body),
            "of_request": request_of(who, row),
            "playground": _playground(who, row),
            "conversation": row.conversation_id,
        }

    @console_action(
        gettext_lazy("Delete"),
        right="delete",
        asks=gettext_lazy(
            "The response is deleted for good, with its input and output and the events of its run. "
            "Responses that continue it stay, but cannot be continued any more, because a part of what was "
            "said is missing."
        ),
        is_harmful=True,
    )
    def remove(self, request: HttpRequest, row: StoredResponse) -> HttpResponse:
        return self.removed(request, row, _("The response is deleted."))


def _shown_node(node: ChainNode, row: StoredResponse, zone: ZoneInfo, query: str) -> dict[str, Any]:
    address = reverse("admin:responses_api_storedresponse_change", args=(quote(node.id),))
    return {
        "told": node,
        "address": f"{address}{query}",
        "at": drawing.instant(node.at, zone),
        "state": response_words(node.status),
        "level": min(node.level, DEEPEST),
        "is_here": node.id == row.pk,
    }


def _playground(who: Access, row: StoredResponse) -> str:
    """Return where the response is continued; blank for who may not, and where nothing can continue it."""
    can_go_on = row.status in {Status.COMPLETED, Status.INCOMPLETE}
    if not can_go_on or not who.may("change", Area.KEYS, row.tenant_id):
        return ""
    return f"{reverse('admin:playground')}?{urlencode({'previous_response_id': row.pk})}"
