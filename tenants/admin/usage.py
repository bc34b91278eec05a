"""The pages on the ledger's rows and their sums: to look at, nothing else."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Model, OuterRef, QuerySet, Subquery
from django.http import HttpRequest

from tenants.access import Area
from tenants.admin.browsing import BrowsingAdmin
from tenants.billing.money import exact_dollars
from tenants.ledger import row_ids
from tenants.models import Tenant, UsageDay, UsageHour, UsageRow
from tenants.scoped_admin import TenantModelAdmin, TenantRelatedFilter, access
from tenants.token_classes import INPUT_CLASSES, OUTPUT_CLASSES, TOKEN_CLASSES

MAX_ALIASES = 100
# What calls cost the operator, and where their records lie, is nobody else's matter.
OPERATORS_ONLY = frozenset(
    {"cost", "cost_nano", "cost_version", "list_version", "unfunded_nano", "spool"}
)


class AliasFilter(admin.SimpleListFilter):
    """By alias. Those offered are read from the sums, which are few, of the tenants one may see."""

    title = "alias"
    parameter_name = "alias"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        assert isinstance(model_admin, TenantModelAdmin)
        rows = model_admin.scoped(UsageDay.objects.order_by("alias"), request)
        names = rows.values_list("alias", flat=True).distinct()[:MAX_ALIASES]
        return [(name, name) for name in names]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(alias=self.value())


class UsageAdmin(BrowsingAdmin):
    """Rows outlive their tenant, whose name is therefore asked for and not joined."""

    area = Area.USAGE
    list_select_related: ClassVar[tuple[str, ...]] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        name = Tenant.objects.filter(pk=OuterRef("tenant_id")).values("name")
        rows: QuerySet[Any] = super().get_queryset(request)
        named: QuerySet[Any] = rows.annotate(owner_name=Subquery(name[:1]))
        return named

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return self._shown(request, super().get_list_display(request))

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        return self._shown(request, super().get_fields(request, obj))

    def _shown(self, request: HttpRequest, names: Any) -> list[Any]:
        hidden = frozenset() if access(request).is_operator else OPERATORS_ONLY
        return [name for name in names if name not in hidden]

    @admin.display(description="Tenant")
    def owner(self, row: Any) -> str:
        return str(row.owner_name or row.tenant_id)

    @admin.display(description="Input")
    def input_tokens(self, row: Any) -> int:
        return sum(getattr(row, name) for name in INPUT_CLASSES)

    @admin.display(description="Output")
    def output_tokens(self, row: Any) -> int:
        return sum(getattr(row, name) for name in OUTPUT_CLASSES)

    @admin.display(description="Charge, USD")
    def charge(self, row: Any) -> str:
        return exact_dollars(row.charge_nano)

    @admin.display(description="Cost, USD")
    def cost(self, row: Any) -> str:
        return exact_dollars(row.cost_nano)


@admin.register(UsageRow)
class UsageRowAdmin(UsageAdmin):
    list_display = (
        "opened_at",
        "owner",
        "key_public_id",
        "alias",
        "provider",
        "upstream_model",
        "status",
        "usage_source",
        "input_tokens",
        "output_tokens",
        "cost",
        "charge",
    )
    list_filter = (AliasFilter, "status", "usage_source", ("tenant", TenantRelatedFilter))
    # Along the indexes by time, of one tenant or of all.
    ordering = ("-opened_at",)
    sortable_by = ("opened_at",)
    search_fields = ("id",)  # see get_search_results
    search_help_text = "The id of a request, req_…, finds its calls."
    fields = tuple(field.name for field in UsageRow._meta.concrete_fields)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term:
            return queryset, False
        try:
            first, last = row_ids.rows_of(search_term.strip())
        except ValueError:
            return queryset.none(), False
        return queryset.filter(pk__gte=first, pk__lte=last), False


class SumAdmin(UsageAdmin):
    list_display = (
        "starts_at",
        "owner",
        "key_public_id",
        "alias",
        "provider",
        "upstream_model",
        "calls",
        "failed",
        "input_tokens",
        "output_tokens",
        "cost",
        "charge",
    )
    list_filter = (AliasFilter, ("tenant", TenantRelatedFilter))
    ordering = ("-starts_at",)
    sortable_by = ("starts_at",)
    fields = (
        *UsageHour.SUBJECT,
        "calls",
        "failed",
        "estimated",
        "unpriced",
        *TOKEN_CLASSES,
        "cost_nano",
        "charge_nano",
        "unfunded_nano",
    )


@admin.register(UsageHour)
class UsageHourAdmin(SumAdmin):
    pass


@admin.register(UsageDay)
class UsageDayAdmin(SumAdmin):
    pass
