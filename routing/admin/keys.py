"""The page on API keys once more, with the aliases a restricted key may use.

Grants are routing's, keys are tenants'; the page is registered again here because tenants may not know
of routing.
"""

from __future__ import annotations

from django.contrib import admin

from routing.models import AliasGrant
from tenants.access import Area
from tenants.admin.keys import ApiKeyAdmin
from tenants.models import ApiKey
from tenants.scoped_admin import TenantInline

admin.site.unregister(ApiKey)


class GrantInline(TenantInline):
    model = AliasGrant
    area = Area.KEYS
    list_select_related = ("api_key", "alias")
    fields = ("alias",)
    autocomplete_fields = ("alias",)
    verbose_name_plural = "Aliases this key may use, where it may not use all"


@admin.register(ApiKey)
class ApiKeyWithGrantsAdmin(ApiKeyAdmin):
    inlines = (*ApiKeyAdmin.inlines, GrantInline)
