"""A console whose pages use every Django option that leaked in a naive admin, on our base classes."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.models import User
from django.urls import path

from gateway_project.console import ConsoleSite
from routing.models import Credential, Provider, ProviderModel, Target
from tenants.access.rights import Area
from tenants.console.operator_admin import OperatorModelAdmin
from tenants.console.scoped_admin import (
    TenantInline,
    TenantModelAdmin,
    TenantRelatedFilter,
)
from tenants.models import Tenant

site = ConsoleSite()


@admin.register(Target, site=site)
class TargetAdmin(TenantModelAdmin):
    area = Area.ALIASES
    fixed_fields = ()
    list_display = ("alias", "provider_model", "position")
    list_editable = ("provider_model", "position")
    list_filter = (("alias", TenantRelatedFilter), ("provider_model", TenantRelatedFilter))
    raw_id_fields = ("provider_model",)


class CredentialInline(TenantInline):
    model = Credential
    area = Area.CREDENTIALS
    fields = ("name", "tenant")


class ModelInline(TenantInline):
    model = ProviderModel
    area = Area.PROVIDERS
    fields = ("upstream_id",)


@admin.register(Provider, site=site)
class ProviderAdmin(TenantModelAdmin):
    area = Area.PROVIDERS
    shows_platform_rows = True
    fields = ("tenant", "name")
    search_fields = ("name", "credentials__name", "provider_models__upstream_id")
    date_hierarchy = "created_at"
    save_as = True
    inlines = (CredentialInline, ModelInline)


@admin.register(Tenant, site=site)
class TenantAdmin(TenantModelAdmin):
    area = Area.TENANT


@admin.register(User, site=site)
class UserAdmin(OperatorModelAdmin):
    pass


urlpatterns = [path("console/", site.urls)]
