"""The base of pages on rows that are many, large and only looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from tenants.access.rights import Right
from tenants.console.scoped_admin import Deleted, TenantModelAdmin

if TYPE_CHECKING:  # Django 5.2 cannot subscript it when it runs
    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator

MAX_ROWS = 10_000


class BoundedPaginator(_Paginator):
    """Counts no further than a person would page: counting a million rows takes longer than showing some."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # of an admin list
        # Of the keys alone: what a list shows beside them would be looked up for each row that is counted.
        return rows.order_by().values("pk")[:MAX_ROWS].count()


class LightDeletion(TenantModelAdmin):
    """Asks before deleting without reading the dependants, which are the row's own and may be very many."""

    def get_deleted_objects(
        self, objs: Sequence[Any] | QuerySet[Any], request: HttpRequest
    ) -> Deleted:
        name = str(self.opts.verbose_name)
        named = [str(row) for row in objs]
        forbidden = not all(self.has_delete_permission(request, row) for row in objs)
        return named, {name: len(named)}, {name} if forbidden else set(), []


class BrowsingAdmin(LightDeletion):
    """Newest first, no editing, bodies read for single rows only."""

    rights: ClassVar[frozenset[Right]] = frozenset({"view"})  # of pages without a resource
    bodies: ClassVar[tuple[str, ...]] = ()  # columns that lists do not read
    fixed_fields = ()
    list_select_related: ClassVar[tuple[str, ...]] = ("tenant",)
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def may(self, right: Right, request: HttpRequest, row: Model | None) -> bool:
        rights = self.rights if self.resource is None else self.resource.rights
        return right in rights and super().may(right, request, row)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer(*self.bodies)
