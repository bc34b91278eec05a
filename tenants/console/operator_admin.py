"""The base of console pages on rows that are no tenant's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from tenants.access.requests import access
from tenants.access.rights import Right
from tenants.console.actions import RowActions
from tenants.console.checked_input import CheckedPage
from tenants.console.row_history import RowHistory
from tenants.sign_in.proof import ProvenPage
from tenants.theme import ThemedModelAdmin

if TYPE_CHECKING:  # Django 5.2 cannot subscript this when it runs
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = ThemedModelAdmin


class OperatorModelAdmin(RowActions, RowHistory, ProvenPage, CheckedPage, _ModelAdmin):
    """Pages for operators of the platform, and for auditors to look at. Nothing else gives rights here."""

    view_on_site = False
    list_per_page: ClassVar[int] = 50
    list_max_show_all: ClassVar[int] = 50

    def may(self, right: Right, request: HttpRequest, row: Model | None) -> bool:
        """Tell whether the person may do this to a row, or (None) to any."""
        allowed: bool = getattr(self, f"has_{right}_permission")(request, row)
        return allowed

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Find nothing for all others: not even which ids there are."""
        rows = super().get_queryset(request)
        return rows if access(request).sees_all_tenants else rows.none()

    def has_module_permission(self, request: HttpRequest) -> bool:
        return access(request).sees_all_tenants

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return access(request).sees_all_tenants

    def has_add_permission(self, request: HttpRequest) -> bool:
        return access(request).is_operator

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return access(request).is_operator

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return access(request).is_operator
