"""The pages on providers and the models they offer."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from routing.admin.owner import owner
from routing.models import Provider, ProviderModel
from routing.route import Quirks
from tenants.access import Area
from tenants.scoped_admin import TenantModelAdmin, TenantRelatedFilter, access

QUIRKS_HELP = (
    'Known differences, for example {"no_stream_usage": true}. {"translate": true} puts the answers of a '
    "provider that speaks a dialect into the standard shape, instead of relaying them. All of them: "
    f"{', '.join(field.name for field in fields(Quirks))}; docs/commands.md explains them at add_provider."
)


@admin.register(Provider)
class ProviderAdmin(TenantModelAdmin):
    area = Area.PROVIDERS
    shows_platform_rows = True
    # Where the platform's upstreams lie is nobody else's business.
    hidden_of_platform = ("base_url", "quirks", "allow_private_network")
    # Whoever may set this reaches the operator's own network.
    # And whoever may set the other one says which calls are free.
    operator_fields = ("allow_private_network", "allow_tenant_credentials")
    list_display = ("name", owner, "protocol", "auth_kind", "enabled")
    list_select_related = ("tenant",)
    list_filter = ("protocol", "enabled", ("tenant", TenantRelatedFilter))
    search_fields = ("name", "vendor")
    fields = (
        "tenant",
        "name",
        "vendor",
        "protocol",
        "base_url",
        "auth_kind",
        "quirks",
        "allow_private_network",
        "allow_tenant_credentials",
        "enabled",
        "created_at",
    )
    readonly_fields = ("created_at",)
    autocomplete_fields = ("tenant",)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Explain the quirks here, where a better sentence needs no migration."""
        if db_field.name == "quirks":
            kwargs["help_text"] = QUIRKS_HELP
        return super().formfield_for_dbfield(db_field, request, **kwargs)


@admin.register(ProviderModel)
class ProviderModelAdmin(TenantModelAdmin):
    area = Area.PROVIDERS
    shows_platform_rows = True
    fixed_fields = ("provider",)  # aliases count on whose model it is
    list_display = ("upstream_id", "provider", "owner", "context_window", "max_output_tokens")
    list_select_related = ("provider__tenant",)
    list_filter = (("provider", TenantRelatedFilter), ("provider__tenant", TenantRelatedFilter))
    search_fields = ("upstream_id", "provider__name")
    fields = ("provider", "upstream_id", "context_window", "max_output_tokens", "capabilities")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        rows, may_repeat = super().get_search_results(request, queryset, search_term)
        # What an alias of a tenant may lead to; the field itself is checked when it is saved.
        is_for_target = request.GET.get("model_name") == "target"
        if is_for_target and not access(request).is_operator:
            rows = rows.filter(provider__tenant__isnull=False)
        return rows, may_repeat

    @admin.display(description="Owner", ordering="provider__tenant__name")
    def owner(self, model: ProviderModel) -> str:
        return owner(model.provider)
