"""What budgets and rate limits have in common: they bind a tenant, or one of its keys."""

from __future__ import annotations

from typing import ClassVar

from django.db.models import Model
from django.http import HttpRequest

from tenants.access import Area, Right
from tenants.scoped_admin import TenantModelAdmin, access


class BoundAdmin(TenantModelAdmin):
    """Of a whole tenant it is the operators' to change, of a key also its tenant's."""

    area = Area.LIMITS
    fixed_fields: ClassVar[tuple[str, ...]] = ("tenant", "api_key")
    list_select_related = ("tenant", "api_key")
    autocomplete_fields = ("tenant", "api_key")

    def may(self, right: Right, request: HttpRequest, row: Model | None) -> bool:
        if not super().may(right, request, row):
            return False
        is_of_tenant = row is not None and getattr(row, "api_key_id", 0) is None
        return right == "view" or not is_of_tenant or access(request).is_operator
