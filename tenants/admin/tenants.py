"""The page on tenants. Operators make and remove them; owners and admins may rename their own."""

from __future__ import annotations

from django.contrib import admin

from tenants.access import Area
from tenants.models import Tenant
from tenants.scoped_admin import TenantModelAdmin


@admin.register(Tenant)
class TenantAdmin(TenantModelAdmin):
    area = Area.TENANT
    fixed_fields = ()
    operator_fields = ("slug", "status", "allow_direct_targets")
    list_display = ("name", "slug", "status", "time_zone", "created_at")
    list_filter = ("status",)
    search_fields = ("name", "slug")
    fields = (
        "name",
        "slug",
        "time_zone",
        "status",
        "allow_direct_targets",
        "store_by_default",
        "retention_days",
        "created_at",
    )
    readonly_fields = ("created_at",)
