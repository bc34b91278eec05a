"""Show stored bodies to people on the console's pages."""

from __future__ import annotations

from typing import Any, ClassVar

import orjson
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from responses_api.storage.managed import Kept
from tenants.admin.browsing import BrowsingAdmin
from tenants.console.scope import carried

Body = bytes | memoryview

MAX_BODY = 100_000
_READ = "kept_rows_read"  # where a request keeps the rows whose pages it shows


def format_body(body: Body, limit: int = MAX_BODY) -> SafeString:
    """Format JSON for people, as much of it as a page can hold."""
    try:
        text = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        text = bytes(body).decode(errors="replace")
    if len(text) > limit:
        text = f"{text[:limit]}\n… {len(text) - limit} more characters"
    return format_html('<pre class="tg-json">{}</pre>', text)


class PrivateAdmin(BrowsingAdmin):
    """Pages of what people said to models: whoever reads or deletes one is in the audit log."""

    rights = frozenset({"view", "delete"})
    resource: ClassVar[Kept]
    change_form_template = "admin/responses_api/kept.html"
    lists: ClassVar[str]  # the name of the page that lists such rows

    def panels(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return what the template shows above the row's fields."""
        raise NotImplementedError

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Read a row once for a page, with the body that lists leave out, and whose it is."""
        known = request.__dict__.setdefault(_READ, {})
        if object_id not in known:
            known[object_id] = super().get_object(request, object_id, from_field)
        return known[object_id]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        if _READ in request.__dict__:
            rows = rows.defer(None).select_related("tenant")
        return rows

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        shown: dict[str, Any] = {}
        # First, so that nothing is shown that could not be recorded. A form that is sent here is refused.
        is_shown = row is not None and request.method != "POST"
        if is_shown and self.has_view_permission(request, row):
            self.resource.record("read", [row])
            # Deleting is a button that says what goes along.
            shown = {**self.panels(request, row), "show_delete": False, "lists": self.lists}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **shown})

    def removed(self, request: HttpRequest, row: Model, text: str) -> HttpResponse:
        """Delete a row with what is its own, say so, and lead to the list."""
        self.resource.remove_all([row])
        self.message_user(request, text, messages.SUCCESS)
        return HttpResponseRedirect(f"{reverse(f'admin:{self.lists}')}{carried(request)}")

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        self.resource.remove_all([obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self.resource.remove_all(list(queryset))
