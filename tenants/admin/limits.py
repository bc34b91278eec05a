"""The page on rate limits: how fast tenants and keys may go."""

from __future__ import annotations

from django.contrib import admin

from tenants.admin.bounds import BoundAdmin
from tenants.models import RateLimit
from tenants.scoped_admin import TenantRelatedFilter


@admin.register(RateLimit)
class RateLimitAdmin(BoundAdmin):
    list_display = ("shown", "tenant", "api_key")
    list_filter = ("metric", "window", ("tenant", TenantRelatedFilter))
    search_fields = ("tenant__name", "api_key__name")
    fields = ("tenant", "api_key", "metric", "amount", "window")

    @admin.display(description="Limit", ordering="amount")
    def shown(self, limit: RateLimit) -> str:
        return str(limit)
