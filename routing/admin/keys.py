"""The page on API keys once more, with the aliases a restricted key may use.

Grants are routing's, keys are tenants'; the page is registered again here because tenants may not know
of routing.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError

from routing.models import AliasGrant
from tenants.access import Area
from tenants.admin.keys import ApiKeyAdmin
from tenants.models import ApiKey
from tenants.scoped_admin import TenantInline
from tenants.scoped_forms import TenantFormSet

admin.site.unregister(ApiKey)


class GrantFormSet(TenantFormSet):
    """A link is granted with the alias it leads to, because that one's grants count too."""

    def clean(self) -> None:
        super().clean()
        kept = [form.instance for form in self.forms if self._is_kept(form)]
        granted = {grant.alias_id for grant in kept}
        for grant in kept:
            linked = grant.alias.platform_alias
            if linked is not None and linked.pk not in granted:
                raise ValidationError(
                    f"{grant.alias.name!r} is a link to the platform's {linked.name!r}: add that one too."
                )

    def _is_kept(self, form: forms.ModelForm[Any]) -> bool:
        return not self._is_deleted(form) and form.is_valid() and form.instance.alias_id is not None


class GrantInline(TenantInline):
    model = AliasGrant
    formset = GrantFormSet
    area = Area.KEYS
    list_select_related = ("api_key", "alias")
    fields = ("alias",)
    autocomplete_fields = ("alias",)
    verbose_name_plural = "Aliases this key may use, where it may not use all"


@admin.register(ApiKey)
class ApiKeyWithGrantsAdmin(ApiKeyAdmin):
    inlines = (*ApiKeyAdmin.inlines, GrantInline)
