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
    fieldsets = (
        (
            None,
            {
                "fields": ("tenant", "api_key", "metric", "amount", "window"),
                "description": "The amount may come at once, and after that one for each share of its "
                "window: 60 requests per minute let in sixty, then one a second. It acts within a second.",
            },
        ),
    )

    @admin.display(description="Limit", ordering="amount")
    def shown(self, limit: RateLimit) -> str:
        return str(limit)
