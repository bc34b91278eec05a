"""The page on aliases, with the models behind each in the order they are tried."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import ForeignKey
from django.http import HttpRequest

from routing.admin.owner import owner
from routing.models import Alias, Target
from tenants.access import Area
from tenants.scoped_admin import TenantInline, TenantModelAdmin, TenantRelatedFilter
from tenants.scoped_forms import TenantFormSet


class TargetFormSet(TenantFormSet):
    """Models an alias may lead to; none if it is a link."""

    def clean(self) -> None:
        super().clean()
        kept = [form for form in self.initial_forms if not self._is_deleted(form)]
        if kept and self.instance.platform_alias is not None:
            raise ValidationError(
                "A link to an alias of the platform has no models of its own: delete these, or the link."
            )

    def _check_links(self, form: forms.ModelForm[Any]) -> None:
        super()._check_links(form)
        if form.errors:
            return
        try:
            form.instance.check_reach()
        except ValidationError as error:
            form.add_error(None, error)


class TargetInline(TenantInline):
    model = Target
    formset = TargetFormSet
    area = Area.ALIASES
    shows_platform_rows = True
    list_select_related = ("alias", "provider_model__provider")
    fields = ("position", "provider_model")
    ordering = ("position", "pk")
    autocomplete_fields = ("provider_model",)


@admin.register(Alias)
class AliasAdmin(TenantModelAdmin):
    area = Area.ALIASES
    shows_platform_rows = True
    list_display = (
        "name",
        owner,
        "platform_alias",
        "responses_mode",
        "drop_unsupported",
        "enabled",
    )
    list_select_related = ("tenant", "platform_alias")
    list_filter = ("enabled", "responses_mode", ("tenant", TenantRelatedFilter))
    search_fields = ("name",)
    fields = (
        "tenant",
        "name",
        "platform_alias",
        "responses_mode",
        "drop_unsupported",
        "store_by_default",
        "resumable_streams",
        "enabled",
        "created_at",
    )
    readonly_fields = ("created_at",)
    autocomplete_fields = ("tenant",)
    inlines = (TargetInline,)

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **options: Any
    ) -> forms.ModelChoiceField[Any] | None:
        field = super().formfield_for_foreignkey(db_field, request, **options)
        if field is not None and field.queryset is not None and db_field.name == "platform_alias":
            field.queryset = field.queryset.filter(tenant=None)
        return field
