"""Console page of aliases, with the models behind each in the order they are tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import ValidationError
from django.db.models import ForeignKey, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from routing import cache_policy, cache_purge
from routing.admin import shown, target_panel
from routing.admin.list_fields import AliasForm
from routing.admin.object_fields import TargetForm
from routing.admin.owner import owner
from routing.managed import ALIASES, TARGETS
from routing.models import Alias, Target
from routing.reports import upstreams
from routing.reports.upstreams import AliasFigures
from tenants.admin.key_panels import page_address
from tenants.console.actions import console_action
from tenants.console.scope import read_scope
from tenants.console.scoped_admin import (
    Deleted,
    NarrowedList,
    TenantInline,
    TenantModelAdmin,
    TenantRelatedFilter,
    access,
)
from tenants.console.scoped_forms import TenantFormSet
from tenants.console.search import FoundBy


class TargetFormSet(TenantFormSet):
    """The models behind an alias; none if it is a link."""

    def clean(self) -> None:
        super().clean()
        kept = [form for form in self.initial_forms if not self._is_deleted(form)]
        if kept and self.instance.platform_alias is not None:
            raise ValidationError(
                gettext(
                    "A link to an alias of the platform has no models of its own; remove these, or the link."
                )
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
    form = TargetForm
    formset = TargetFormSet
    resource = TARGETS
    list_select_related = ("alias", "provider_model__provider")
    fields = ("position", "weight", "enabled", "provider_model", "when")
    ordering = ("position", "pk")
    autocomplete_fields = ("provider_model",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Leave out what is not shown to tenants of the platform's targets."""
        is_guest = (
            obj is not None and obj.tenant_id is None and not access(request).sees_all_tenants
        )
        hidden = TARGETS.hidden_of_platform if is_guest else ()
        return [name for name in self.fields if name not in hidden]


class AliasList(NarrowedList):
    """Aliases, each with the models behind it, its price and its requests."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows, asked = list(self.result_list), read_scope(request).tenant
        figures = upstreams.of_aliases(access(request), rows, None if asked is None else asked.pk)
        for row in rows:
            row.figures = figures[row.pk]
        self.result_list = rows  # what follows counts and iterates it


@admin.register(Alias)
class AliasAdmin(TenantModelAdmin):
    when_empty = _("An alias is the name that clients ask for; one or more models stand behind it.")
    resource = ALIASES
    form = AliasForm
    change_form_template = "admin/routing/alias/change_form.html"
    change_list_template = "admin/routing/alias/change_list.html"
    found_by = FoundBy(names=("name",))
    list_display = (
        "name",
        owner,
        "targets_shown",
        "input_shown",
        "output_shown",
        "requests_shown",
        "enabled",
    )
    list_select_related = ("tenant", "platform_alias")
    list_filter = ("enabled", "responses_mode", ("tenant", TenantRelatedFilter))
    show_full_result_count = False
    search_fields = ("name",)
    fieldsets: ClassVar[Any] = (
        (
            None,
            {
                "fields": (
                    "tenant",
                    "name",
                    "platform_alias",
                    "responses_mode",
                    "drop_unsupported",
                    "store_by_default",
                    "resumable_streams",
                    "strategy",
                    "affinity",
                    "affinity_seconds",
                    "max_attempts",
                    "wait_seconds",
                    "fall_back_on",
                    "enabled",
                    "created_at",
                )
            },
        ),
        (
            _("Response cache"),
            {
                "description": _(
                    "An equal request is answered with the answer that was given before, without asking "
                    "a model. Only answers that are complete are kept, sealed, and never for another "
                    "tenant. The request list says of each request whether it was answered so."
                ),
                "fields": (
                    "cache_seconds",
                    "cache_scope",
                    "cache_any_temperature",
                    "cache_charge_percent",
                ),
            },
        ),
    )
    readonly_fields = ("created_at",)
    autocomplete_fields = ("tenant",)
    inlines = (TargetInline,)

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[NarrowedList]:
        return AliasList

    @admin.display(description=_("Targets"))
    def targets_shown(self, alias: Alias) -> SafeString | str:
        if alias.platform_alias is not None:
            return gettext("link to %(alias)s") % {"alias": alias.platform_alias.name}
        targets = _figures(alias).targets
        if not targets:
            return shown.NOTHING
        rows = ((shown.dot(each), each.name) for each in targets)
        listed = format_html_join("", '<div class="tg-target">{} {}</div>', rows)
        return format_html("<div>{}</div>", listed)

    @admin.display(description=_("$ in, per million"))
    def input_shown(self, alias: Alias) -> str:
        held = _figures(alias).price
        return shown.price(held, held.input_pico)

    @admin.display(description=_("$ out, per million"))
    def output_shown(self, alias: Alias) -> str:
        held = _figures(alias).price
        return shown.price(held, held.output_pico)

    @admin.display(description=_("Requests, 24 h"))
    def requests_shown(self, alias: Alias) -> str:
        requests = _figures(alias).requests
        return (
            shown.NOTHING if requests is None else number_format(requests, 0, force_grouping=True)
        )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.targets_view)
        name = "routing_alias_targets"
        return [path("<path:object_id>/targets/", view, name=name), *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *rest: Any, **options: Any
    ) -> HttpResponse:
        """Show how the models behind the alias are doing, with what can be done about each."""
        alias = options.get("obj")
        if alias is not None and alias.platform_alias_id is None:
            context = {
                **context,
                "targets": target_panel.panel(access(request), alias),
                "explain_address": page_address("explain_route", _asking(alias)),
            }
        response: HttpResponse = super().render_change_form(request, context, *rest, **options)
        return response

    def targets_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Move a target, or test it: buttons of the alias's page."""
        alias = self.get_object(request, unquote(object_id))
        if alias is None:
            raise Http404
        if request.method == "POST":
            try:
                level, told = target_panel.do(access(request), alias, request.POST)
                self.message_user(request, told, level)
            except ValidationError as error:
                self.message_user(request, " ".join(error.messages), messages.ERROR)
        return redirect("admin:routing_alias_change", quote(alias.pk))

    @console_action(
        _("Purge cached answers"),
        right="change",
        asks=_(
            "Answers that were kept until now are not given again, also under the names of links to this "
            "alias. Requests ask a model again, at its price."
        ),
        shown_for=cache_policy.is_kept,
    )
    def purge_cached_answers(self, request: HttpRequest, row: Alias) -> str:
        cache_purge.purge_by(access(request), row)
        return gettext("Answers that were kept until now are not given again.")

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **options: Any
    ) -> forms.ModelChoiceField[Any] | None:
        field = super().formfield_for_foreignkey(db_field, request, **options)
        if field is not None and field.queryset is not None and db_field.name == "platform_alias":
            field.queryset = field.queryset.filter(tenant=None)
        return field

    def get_paginator(
        self, request: HttpRequest, queryset: QuerySet[Any], *rest: Any, **options: Any
    ) -> Any:
        """Leave out of an alias's history what names the models behind it, to whom they are not shown."""
        if queryset.model is LogEntry and not access(request).sees_upstreams:
            queryset = queryset.exclude(change_message__contains='"object"')
        return super().get_paginator(request, queryset, *rest, **options)

    def get_deleted_objects(
        self, objs: Sequence[Any] | QuerySet[Any], request: HttpRequest
    ) -> Deleted:
        """Name the aliases alone to whom nothing is shown of the models behind them."""
        named, counts, forbidden, protected = super().get_deleted_objects(objs, request)
        if named and not access(request).sees_upstreams:
            named = [str(row) for row in objs]
        return named, counts, forbidden, protected


def _asking(alias: Alias) -> str:
    """Return the query that asks a page of the console about this alias."""
    asked = {"alias": alias.name}
    if alias.tenant is not None:
        asked["tenant"] = alias.tenant.slug
    return f"?{urlencode(asked)}"


def _figures(alias: Alias) -> AliasFigures:
    found: AliasFigures = getattr(alias, "figures", AliasFigures())
    return found
