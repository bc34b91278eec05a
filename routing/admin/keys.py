"""Extend the pages of API keys with the aliases a key may use, and with the guide that makes one.

Aliases are routing's, keys are tenants'; the page is registered again here because tenants may not know of
routing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, Model, OuterRef, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from routing import grants
from routing.admin import new_key
from routing.models import Alias, AliasGrant
from tenants.admin.key_forms import KeyForm
from tenants.admin.keys import ApiKeyAdmin
from tenants.console.checked_input import CheckedMultipleChoiceField
from tenants.console.scoped_admin import access
from tenants.models import ApiKey
from tenants.sign_in.proof import demand
from tenants.theme import Checkboxes

admin.site.unregister(ApiKey)

MOST_NAMED = 3


class AliasesField(CheckedMultipleChoiceField):
    """Aliases to tick."""

    def __init__(self, **options: Any) -> None:
        defaults = {"queryset": Alias.objects.none(), "widget": Checkboxes, "required": False}
        super().__init__(**{**defaults, **options})

    def label_from_instance(self, obj: Any) -> str:
        return str(obj.name) if obj.tenant_id else _("%(name)s (platform)") % {"name": obj.name}


class KeyWithAliasesForm(KeyForm):
    """A key with the aliases it is restricted to; ApiKeyWithAliasesAdmin.get_form fills in those offered."""

    offered: ClassVar[QuerySet[Any]] = Alias.objects.none()
    aliases = AliasesField(
        label=gettext_lazy("Only these aliases"),
        help_text=gettext_lazy(
            "They count where the key may not use all. The platform's alias that a link leads to is "
            "granted with it."
        ),
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        field = self.fields.get("aliases")
        if isinstance(field, AliasesField):
            field.queryset = new_key.aliases_of(self.offered, self.instance.tenant)
            granted = AliasGrant.objects.filter(api_key=self.instance.pk, alias=OuterRef("pk"))
            known = list(field.queryset.annotate(is_granted=Exists(granted)))
            # What is known is not asked again to draw the boxes.
            field.choices = [(each.pk, field.label_from_instance(each)) for each in known]
            ticked = [each.pk for each in known if each.is_granted]
            self.initial.setdefault("aliases", ticked)

    def save_aliases(self, request: HttpRequest) -> bool:
        """Grant what is ticked; what the person was not offered stays as it is."""
        offered = self.fields["aliases"].queryset  # type: ignore[attr-defined]
        hidden = Alias.objects.filter(grants__api_key=self.instance).exclude(pk__in=offered)
        wanted = [*self.cleaned_data["aliases"], *hidden.select_related("platform_alias")]
        return grants.set_aliases(access(request), self.instance, wanted)


@admin.register(ApiKey)
class ApiKeyWithAliasesAdmin(ApiKeyAdmin):
    form = KeyWithAliasesForm
    list_display: Any = (
        *("shown", "state", "aliases", "limits", "budget", "used", "expires", "maker", "tenant"),
    )
    fields: ClassVar[Any] = tuple(
        each
        for name in ApiKeyAdmin.fields
        for each in ((name, "aliases") if name == "all_aliases" else (name,))
    )

    def describe(self, request: HttpRequest, rows: Sequence[Any]) -> None:
        super().describe(request, rows)
        granted = AliasGrant.objects.filter(api_key__in=[r.pk for r in rows if not r.all_aliases])
        by_key: dict[int, list[str]] = {}
        for key, name in granted.order_by("alias__name").values_list("api_key", "alias__name"):
            by_key.setdefault(key, []).append(name)
        for row in rows:
            row.alias_names = by_key.get(row.pk, [])

    @admin.display(description=gettext_lazy("Aliases"))
    def aliases(self, key: Any) -> str:
        """Name the aliases: in the list the first few, on the page of a key whoever only reads sees all."""
        if key.all_aliases:
            return _("all")
        names = getattr(key, "alias_names", None)
        if names is None:
            return ", ".join(grants.granted_names(key)) or _("none")
        if len(names) <= MOST_NAMED:
            return ", ".join(names) or _("none")
        shown = ", ".join(names[: MOST_NAMED - 1])
        return _("%(names)s and %(more)s more") % {
            "names": shown,
            "more": len(names) - MOST_NAMED + 1,
        }

    def get_form(
        self, request: HttpRequest, obj: Model | None = None, change: bool = False, **options: Any
    ) -> type[ModelForm[Any]]:
        form = super().get_form(request, obj, change, **options)
        # Django makes a new class for every request, so this is not shared between people.
        form.offered = self.choices(Alias.objects.all(), request)  # type: ignore[attr-defined]
        return form

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        if "aliases" in form.cleaned_data:
            form.save_aliases(request)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the guide that makes a key with all that belongs to it."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            demand(request)
        return new_key.answer(self, request)

    def example_alias(self, key: ApiKey) -> str:
        return next(iter(grants.usable_aliases(key)), "")
