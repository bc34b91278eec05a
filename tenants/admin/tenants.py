"""The page on tenants. Operators make and remove them; owners and admins may rename their own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from gateway_project.lib import clock
from tenants.access import Area
from tenants.budgets import zones
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

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        assert isinstance(obj, Tenant)
        if "time_zone" in form.changed_data and (text := _when_it_counts(obj)):
            self.message_user(request, text)


def _when_it_counts(tenant: Tenant) -> str:
    """From when the zone that was chosen counts for budgets; empty where it does already."""
    pending = zones.pending(tenant.zone_switches, clock.timestamp())
    when = ", ".join(
        f"{period} ones from {datetime.fromtimestamp(switch.at, UTC):%Y-%m-%d %H:%M} UTC"
        for period, switch in pending.items()
    )
    return f"Budgets count in {tenant.time_zone} from their next period on: {when}." if when else ""
