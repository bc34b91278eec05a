"""Lists that learn about all their rows at once what columns show beyond the rows' own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.http import HttpRequest

from tenants.console.scope import asked_tenant
from tenants.console.scoped_admin import NarrowedList, TenantModelAdmin


class DescribedList(NarrowedList):
    """A list whose page is given the rows shown, before they are drawn."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        assert isinstance(self.model_admin, DescribedAdmin)
        # Read here, they are not read again: the page marks these very objects.
        self.model_admin.describe(request, list(self.result_list))


class DescribedAdmin(TenantModelAdmin):
    """A page whose list is a DescribedList."""

    show_full_result_count = False

    class Media:
        css: ClassVar = {"all": ("console/keys.css",)}

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[NarrowedList]:
        return DescribedList

    def describe(self, request: HttpRequest, rows: Sequence[Any]) -> None:
        """Give the rows what columns show of them."""

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Leave the tenant out where all rows are of one."""
        columns: list[Any] = list(super().get_list_display(request))
        is_one = asked_tenant(request) is not None
        return [name for name in columns if name != "tenant" or not is_one]
