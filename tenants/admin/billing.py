"""The page of prepaid credit: balances and movements; operators grant there."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tenants.access.rights import Area
from tenants.admin.browsing import BrowsingAdmin
from tenants.billing import credits as prepaid
from tenants.billing.money import NANO_PER_CENT, parsed_cents
from tenants.console import drawing
from tenants.console.scope import asked_tenant
from tenants.console.scoped_admin import TenantRelatedFilter, access
from tenants.console.scoped_forms import TenantForm
from tenants.managed.tables import CREDITS
from tenants.models import CreditTransaction
from tenants.reports import billing as reports


def cents(amount: int) -> str:
    """Format cents for people."""
    return drawing.money(amount * NANO_PER_CENT)


class GrantForm(TenantForm):
    """A grant, as an operator types it."""

    amount = forms.CharField(
        label=gettext_lazy("Amount"), help_text=gettext_lazy("Dollars and cents, such as 25.00.")
    )
    is_paid = forms.BooleanField(
        label=gettext_lazy("Is paid"),
        required=False,
        help_text=gettext_lazy("The tenant bought it."),
    )

    class Meta:
        model = CreditTransaction
        fields = ("tenant", "reference", "expires_at", "priority", "reason")

    def clean_amount(self) -> int:
        try:
            amount = parsed_cents(self.cleaned_data["amount"])
        except ValueError as error:
            raise ValidationError(str(error)) from error
        if amount <= 0:
            raise ValidationError(_("A grant must be more than 0.00."))
        return amount

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        tenant, reference = cleaned.get("tenant"), cleaned.get("reference", "")
        if tenant is not None:
            try:
                prepaid.check_expiry(tenant.pk, reference, cleaned.get("expires_at"))
            except ValidationError as error:
                self.add_error("expires_at", error)
        return cleaned


@admin.register(CreditTransaction)
class CreditTransactionAdmin(BrowsingAdmin):
    """Grants are added by operators; nothing is changed or deleted."""

    when_empty = gettext_lazy(
        "A grant of prepaid credit pays invoices until it is used up or expires."
    )
    resource = CREDITS
    change_list_template = "admin/tenants/credittransaction/change_list.html"
    list_display = (
        "created_at",
        "tenant",
        "kind",
        "amount_shown",
        "reference",
        "expires_at",
        "reason",
    )
    list_filter = ("kind", ("tenant", TenantRelatedFilter))
    search_fields = ("reference__startswith",)
    sortable_by = ("created_at",)
    ordering = ("-created_at",)
    fields = (
        "tenant",
        "kind",
        "amount_shown",
        "reference",
        "grant",
        "invoice",
        "priority",
        "expires_at",
        "reason",
        "actor",
        "created_at",
    )
    readonly_fields = ("amount_shown",)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show balances above the movements."""
        shown = {**_balances(request), **(extra_context or {})}
        return super().changelist_view(request, shown)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        amount = Sum("entries__amount_cents", filter=prepaid.OF_CREDIT, default=0)
        rows: QuerySet[Any] = super().get_queryset(request)
        counted: QuerySet[Any] = rows.annotate(credit_cents=amount)
        return counted

    def get_form(
        self, request: HttpRequest, obj: Model | None = None, change: bool = False, **options: Any
    ) -> type[forms.ModelForm[Any]]:
        if obj is None:
            options |= {"form": GrantForm, "fields": GrantForm.Meta.fields}
        return super().get_form(request, obj, change, **options)

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        if obj is None:
            return ("tenant", "amount", "is_paid", "reference", "expires_at", "priority", "reason")
        return super().get_fields(request, obj)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change or not self.may("add", request, obj):
            raise PermissionDenied
        made = prepaid.grant(
            obj.tenant_id,
            form.cleaned_data["amount"],
            obj.reference,
            expires_at=obj.expires_at,
            priority=obj.priority,
            is_paid=form.cleaned_data["is_paid"],
            reason=obj.reason,
            actor=str(request.user),
        )
        obj.pk = made.pk

    @admin.display(description=gettext_lazy("Amount"))
    def amount_shown(self, movement: Any) -> str:
        return cents(movement.credit_cents)


def _balances(request: HttpRequest) -> dict[str, Any]:
    """Return what is left of one tenant's credit, or the balances of all whose bills the person may see."""
    who, chosen = access(request), asked_tenant(request)
    if chosen is None:
        is_all = who.may("view", Area.BILLING, None)
        tenants = None if is_all else who.tenants_where("view", Area.BILLING)
        found = reports.balances(tenants)
        return {"balances": [(slug, name, cents(amount)) for slug, name, amount in found]}
    if not who.may("view", Area.BILLING, chosen.pk):
        return {}
    standing = reports.credit_standing(chosen.pk)
    left = [(each.movement, cents(each.rest_cents)) for each in standing.left]
    return {"balance": cents(standing.balance_cents), "left": left}
