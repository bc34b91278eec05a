"""The page of rate limits: how fast tenants and keys may go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from tenants.admin.bounds import BoundAdmin, whose
from tenants.admin.limit_words import limit_text
from tenants.admin.refused import refusals_link
from tenants.console.scoped_admin import TenantRelatedFilter, access
from tenants.managed.tables import LIMITS
from tenants.models import RateLimit
from tenants.reports import refused


@admin.register(RateLimit)
class RateLimitAdmin(BoundAdmin):
    when_empty = _("A rate limit bounds what a tenant or a key may use in a time, or at once.")
    resource = LIMITS
    list_display = ("shown", "bound", "refusals", "tenant")
    list_filter = ("metric", "window", ("tenant", TenantRelatedFilter))
    search_fields = ("tenant__name", "api_key__name", "api_key__public_id")
    fieldsets: ClassVar[Any] = (
        (
            None,
            {
                "fields": ("tenant", "api_key", "metric", "amount", "window"),
                "description": _(
                    "A full amount may arrive at once, then one per share of the window: "
                    "60 requests per minute admit sixty, then one a second. Changes act within a second."
                ),
            },
        ),
    )

    def describe(self, request: HttpRequest, rows: Sequence[Any]) -> None:
        found = refused.of_limits(access(request), rows)
        for row in rows:
            row.refused = found.get(row.pk)

    @admin.display(description=_("Limit"), ordering="amount")
    def shown(self, limit: RateLimit) -> str:
        return limit_text(limit)

    @admin.display(description=_("Of"), ordering="api_key__name")
    def bound(self, limit: RateLimit) -> SafeString | str:
        return whose(limit)

    @admin.display(description=_("Refused in 24 hours"))
    def refusals(self, limit: Any) -> SafeString | str:
        return refusals_link(limit, limit.refused, "rate_limit_exceeded", "period=24h")
