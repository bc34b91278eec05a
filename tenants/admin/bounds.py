"""Share what the pages of budgets and rate limits have in common: they bind a tenant, or one of its keys."""

from __future__ import annotations

from typing import Any

from django.db.models import ForeignKey
from django.forms import ModelChoiceField
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from tenants.access.ownership import rows_of
from tenants.access.rights import Area
from tenants.admin.described import DescribedAdmin
from tenants.console.scoped_admin import access


class BoundAdmin(DescribedAdmin):
    """Pages of bounds (tenants/managed/tables.py says whose they are to change)."""

    list_select_related = ("tenant", "api_key")
    autocomplete_fields = ("tenant", "api_key")

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **options: Any
    ) -> ModelChoiceField[Any] | None:
        """Have a key chosen by those who may bound keys only, and offer them theirs."""
        field = super().formfield_for_foreignkey(db_field, request, **options)
        who = access(request)
        if db_field.name != "api_key" or field is None or (Area.LIMITS, "add") in who.platform:
            return field
        mine = who.tenants_where("add", Area.LIMITS) | who.tenants_where("change", Area.LIMITS)
        assert field.queryset is not None
        field.queryset = rows_of(field.queryset, mine, platform=False)
        field.required = True
        field.help_text = _(
            "One of your keys. What binds all keys of a tenant together is set by the platform."
        )
        return field


def whose(bound: Any) -> SafeString | str:
    """Say which key is bound, or that all of them are."""
    if bound.api_key is None:
        return _("all keys together")
    key = bound.api_key
    return format_html("{} <span class='tg-grey'>{}</span>", key.name, key.public_id)
