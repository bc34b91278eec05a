"""The page of billing details: who issues invoices, and whom those of each tenant are addressed to."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Field
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tenants.console.scoped_admin import TenantModelAdmin, TenantRelatedFilter, access
from tenants.console.search import FoundBy
from tenants.managed.tables import BILLING_DETAILS
from tenants.models import BillingDetails
from tenants.theme import Textarea

_LINES = frozenset({"address", "payment", "note"})


@admin.register(BillingDetails)
class BillingDetailsAdmin(TenantModelAdmin):
    when_empty = gettext_lazy(
        "They say who issues invoices, and whom each tenant's are addressed to."
    )
    resource = BILLING_DETAILS
    found_by = FoundBy(names=("name",))
    list_display = ("name", "whose", "tax_id", "email", "reference")
    list_select_related: ClassVar[tuple[str, ...]] = ("tenant",)
    list_filter = (("tenant", TenantRelatedFilter),)
    search_fields = ("name",)
    autocomplete_fields = ("tenant",)

    @admin.display(description=gettext_lazy("Tenant"), ordering="tenant__name")
    def whose(self, details: BillingDetails) -> str:
        return _("The issuer") if details.tenant is None else str(details.tenant)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave out what the other side alone has, and for tenants what is not theirs."""
        is_operator = access(request).is_operator
        sides = ["tenant", "name", "address", "tax_id", "email"]
        terms = ["terms_days", "tax_name", "tax_basis_points", "note"]
        if obj is None or obj.tenant_id is not None:
            sides.append("reference")
        if (obj is None and is_operator) or (obj is not None and obj.tenant_id is None):
            terms.insert(0, "payment")
        sets: list[tuple[Any, dict[str, Any]]] = [(None, {"fields": sides})]
        if obj is not None or is_operator:
            sets.append((_("Terms and tax"), {"fields": terms}))
        return sets

    def formfield_for_dbfield(
        self, db_field: Field[Any, Any], request: HttpRequest, **options: Any
    ) -> forms.Field | None:
        """Ask in several lines for what is printed in several."""
        if db_field.name in _LINES:
            options["widget"] = Textarea(attrs={"rows": 3})
        return super().formfield_for_dbfield(db_field, request, **options)
