"""The base of pages on rows that are many, large and only looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import orjson
from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from tenants.access import Right
from tenants.scoped_admin import Deleted, TenantModelAdmin

if TYPE_CHECKING:  # Django 5.2 cannot subscript it when it runs
    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator

Body = bytes | memoryview

MAX_ROWS = 10_000
MAX_BODY = 100_000
MAX_ITEMS = 100
MAX_ITEM = 10_000


class BoundedPaginator(_Paginator):
    """Counts no further than a person would page: counting a million rows takes longer than showing some."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # of an admin list
        return rows.order_by()[:MAX_ROWS].count()


class LightDeletion(TenantModelAdmin):
    """Asks before deleting without reading what goes along, which is the row's own and may be very much."""

    def get_deleted_objects(
        self, objs: Sequence[Any] | QuerySet[Any], request: HttpRequest
    ) -> Deleted:
        name = str(self.opts.verbose_name)
        named = [str(row) for row in objs]
        forbidden = not all(self.has_delete_permission(request, row) for row in objs)
        return named, {name: len(named)}, {name} if forbidden else set(), []


class BrowsingAdmin(LightDeletion):
    """Newest first, no editing, bodies read for single rows only."""

    rights: ClassVar[frozenset[Right]] = frozenset({"view"})
    bodies: ClassVar[tuple[str, ...]] = ()  # columns that lists do not read
    fixed_fields = ()
    list_select_related: ClassVar[tuple[str, ...]] = ("tenant",)
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def may(self, right: Right, request: HttpRequest, row: Model | None) -> bool:
        return right in self.rights and super().may(right, request, row)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer(*self.bodies)


def shown(body: Body, limit: int = MAX_BODY) -> SafeString:
    """JSON for people, as far as a page can hold it."""
    try:
        text = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        text = bytes(body).decode(errors="replace")
    if len(text) > limit:
        text = f"{text[:limit]}\n… {len(text) - limit} more characters"
    return format_html("<pre>{}</pre>", text)


def items_shown(bodies: QuerySet[Any, Body]) -> SafeString:
    """The first items, one below the other."""
    first = [(shown(body, MAX_ITEM),) for body in bodies[: MAX_ITEMS + 1]]
    told = format_html_join("", "{}", first[:MAX_ITEMS])
    return told if len(first) <= MAX_ITEMS else format_html("{}<p>… and more items</p>", told)
