"""The page on aliases, with the models behind each in the order they are tried."""

from __future__ import annotations

from django.contrib import admin

from routing.admin.owner import owner
from routing.models import Alias, Target
from tenants.access import Area
from tenants.scoped_admin import TenantInline, TenantModelAdmin, TenantRelatedFilter


class TargetInline(TenantInline):
    model = Target
    area = Area.ALIASES
    shows_platform_rows = True
    list_select_related = ("alias", "provider_model__provider")
    fields = ("position", "provider_model")
    ordering = ("position", "pk")
    autocomplete_fields = ("provider_model",)


@admin.register(Alias)
class AliasAdmin(TenantModelAdmin):
    area = Area.ALIASES
    shows_platform_rows = True
    list_display = ("name", owner, "responses_mode", "drop_unsupported", "enabled")
    list_select_related = ("tenant",)
    list_filter = ("enabled", "responses_mode", ("tenant", TenantRelatedFilter))
    search_fields = ("name",)
    fields = (
        "tenant",
        "name",
        "responses_mode",
        "drop_unsupported",
        "store_by_default",
        "resumable_streams",
        "enabled",
        "created_at",
    )
    readonly_fields = ("created_at",)
    autocomplete_fields = ("tenant",)
    inlines = (TargetInline,)
