"""The page on budgets: what tenants and keys may spend, and what is spent and held of it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model, OuterRef, QuerySet, Subquery
from django.http import HttpRequest

from tenants import local_time
from tenants.access import Area, Right
from tenants.admin.bounds import BoundAdmin
from tenants.budgets import dollars
from tenants.models import Budget, BudgetWindow
from tenants.scoped_admin import TenantInline, TenantRelatedFilter
from tenants.scoped_forms import TenantForm


class DollarsField(forms.CharField):
    """Dollars as text, nano-dollars as the value."""

    def prepare_value(self, value: Any) -> Any:
        return dollars.shown(value) if isinstance(value, int) else value

    def clean(self, value: Any) -> int:
        text = super().clean(value)
        try:
            return dollars.nano(text)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class BudgetForm(TenantForm):
    amount_nano = DollarsField(
        label="Amount", help_text="In dollars per period, for example 25.00."
    )


class WindowInline(TenantInline):
    """Periods so far; the ledger writes them and nobody else."""

    model = BudgetWindow
    area = Area.LIMITS
    fields = ("begins", "ends", "spent", "held", "alerts_shown")
    readonly_fields = ("begins", "ends", "spent", "held", "alerts_shown")
    verbose_name_plural = "Periods, in the tenant's time zone"
    can_delete = False
    max_num = 0

    def may(self, right: Right, request: HttpRequest, row: Model | None) -> bool:
        return right == "view" and super().may(right, request, row)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("alerts")

    @admin.display
    def begins(self, of: BudgetWindow) -> str:
        if of.ends_at is None:  # of a total, which counts from 1970 on
            return "with the first call"
        return local_time.minute(of.starts_at, of.budget.tenant.time_zone)

    @admin.display
    def ends(self, of: BudgetWindow) -> str:
        if of.ends_at is None:
            return "never"
        return local_time.minute(of.ends_at, of.budget.tenant.time_zone)

    @admin.display(description="Spent ($)")
    def spent(self, of: BudgetWindow) -> str:
        return dollars.shown(of.spent_nano)

    @admin.display(description="Held for running calls ($)")
    def held(self, of: BudgetWindow) -> str:
        return dollars.shown(of.reserved_nano)

    @admin.display(description="Thresholds reached")
    def alerts_shown(self, of: BudgetWindow) -> str:
        return ", ".join(f"{alert.percent} %" for alert in of.alerts.all()) or "none"


@admin.register(Budget)
class BudgetAdmin(BoundAdmin):
    form = BudgetForm
    # What a model costs the operator could be read from what such a budget spends.
    operator_fields = ("counts_list_price",)
    fixed_fields = (*BoundAdmin.fixed_fields, "counts_list_price")
    list_display = ("name", "tenant", "api_key", "amount", "period", "mode", "used", "enabled")
    list_filter = ("period", "mode", "enabled", ("tenant", TenantRelatedFilter))
    search_fields = ("name", "tenant__name", "api_key__name")
    fields = (
        "tenant",
        "api_key",
        "name",
        "amount_nano",
        "period",
        "mode",
        "counts_list_price",
        "thresholds",
        "alert_emails",
        "enabled",
        "created_at",
    )
    readonly_fields = ("created_at",)
    inlines = (WindowInline,)

    @admin.display(description="Amount ($)", ordering="amount_nano")
    def amount(self, budget: Budget) -> str:
        return dollars.shown(budget.amount_nano)

    @admin.display(description="Spent in its last period")
    def used(self, budget: Any) -> str:
        if budget.last_start is None:
            return "nothing yet"
        spent = f"${dollars.shown(budget.last_spent)}"
        if budget.period == Budget.Period.TOTAL:
            return f"{spent} in all"
        return f"{spent} since {local_time.day(budget.last_start, budget.tenant.time_zone)}"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        last = BudgetWindow.objects.filter(budget=OuterRef("pk")).order_by("-starts_at")
        rows: QuerySet[Any] = super().get_queryset(request)
        annotated: QuerySet[Any] = rows.annotate(
            last_start=Subquery(last.values("starts_at")[:1]),
            last_spent=Subquery(last.values("spent_nano")[:1]),
        )
        return annotated
