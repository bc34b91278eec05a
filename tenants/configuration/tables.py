"""Declare what a file can say about tenants, their own roles, billing details, rate limits and budgets."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from gateway_project.lib.secret import Secret
from tenants.configuration.fields import (
    AmountField,
    ConfigurationField,
    KeyField,
    NameField,
    SetField,
)
from tenants.configuration.kinds import ConfigurationKind, Normal, register
from tenants.configuration.section import FileSection
from tenants.managed import people as _people  # noqa: F401  # which registers roles
from tenants.members import roles
from tenants.models import ApiKey, BillingDetails, Budget, CustomRole, RateLimit, Tenant


class TenantKind(ConfigurationKind):
    """Tenants themselves. Their other sections are objects of the platform's or the tenant's kinds."""

    section = "tenants"
    order = 0
    model = Tenant
    on_platform = in_tenants = False
    is_prunable = False
    identity = (NameField("slug"),)
    fields = (
        ConfigurationField("name"),
        ConfigurationField("time_zone"),
        ConfigurationField("status"),
        ConfigurationField("allow_direct_targets"),
        ConfigurationField("store_by_default"),
        ConfigurationField("retention_days"),
        ConfigurationField("shows_upstreams"),
    )

    def rows(self, scope: FileSection) -> QuerySet[Any]:
        return scope.visible(Tenant).order_by("slug")

    def home(self, scope: FileSection) -> dict[str, Any]:
        return {}


class RoleKind(ConfigurationKind):
    """Roles of a tenant's own, written by the functions of tenants/members/roles.py."""

    section = "roles"
    order = 10
    model = CustomRole
    on_platform = False
    identity = (NameField("name"),)
    fields = (SetField("permissions", is_written=True),)

    def rows(self, scope: FileSection) -> QuerySet[Any]:
        return super().rows(scope).order_by("name")

    def create(self, scope: FileSection, values: Normal) -> tuple[Any, Secret | None]:
        assert scope.tenant is not None
        given = values.get("permissions", [])
        return roles.create_role(scope.who, scope.tenant, values["name"], given), None

    def change(self, scope: FileSection, row: Any, values: Normal) -> None:
        roles.change_role(scope.who, row, permissions=values["permissions"])

    def remove(self, scope: FileSection, row: Any) -> None:
        roles.delete_role(scope.who, row)


class BillingDetailsKind(ConfigurationKind):
    """Billing details of the platform, which issues invoices, or of a tenant: at most one object."""

    section = "billing_details"
    order = 15
    model = BillingDetails
    identity = ()
    fields = (
        ConfigurationField("name", is_written=True, is_needed=True),
        ConfigurationField("address"),
        ConfigurationField("tax_id"),
        ConfigurationField("email"),
        ConfigurationField("reference"),
        ConfigurationField("payment"),
        ConfigurationField("terms_days"),
        ConfigurationField("tax_name"),
        ConfigurationField("tax_basis_points"),
        ConfigurationField("note"),
    )


class BoundKind(ConfigurationKind):
    """Limits and budgets, of a tenant or one of its keys."""

    on_platform = False

    def rows(self, scope: FileSection) -> QuerySet[Any]:
        # Those of a revoked key bound nothing, and its name may be another's by now.
        of_living = Q(api_key=None) | Q(api_key__revoked_at=None)
        return super().rows(scope).filter(of_living).select_related("api_key")

    def reason_not_to_export(self, row: Any, scope: FileSection) -> str:
        if row.api_key is None:
            return ""
        of_name = ApiKey.objects.filter(
            tenant=row.tenant_id, name=row.api_key.name, revoked_at=None
        )
        return "other keys have the name of its key" if of_name.count() > 1 else ""


class LimitKind(BoundKind):
    section = "limits"
    order = 60
    model = RateLimit
    identity = (
        KeyField("key", "api_key"),
        NameField("metric"),
        ConfigurationField("window"),
    )
    fields = (ConfigurationField("amount", is_written=True),)


class BudgetKind(BoundKind):
    section = "budgets"
    order = 70
    model = Budget
    identity = (NameField("name"), KeyField("key", "api_key"))
    fields = (
        AmountField("amount", "amount_nano"),
        ConfigurationField("period"),
        ConfigurationField("mode"),
        ConfigurationField("counts_list_price"),
        ConfigurationField("thresholds"),
        ConfigurationField("alert_emails"),
        ConfigurationField("enabled"),
    )


TENANTS = register(TenantKind())
ROLES = register(RoleKind())
BILLING_DETAILS = register(BillingDetailsKind())
LIMITS = register(LimitKind())
BUDGETS = register(BudgetKind())
