"""Console pages of providers and the models they offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from gateway_project.lib.db import durable_transaction
from routing import losing, testing
from routing.admin import shown
from routing.admin.list_fields import ProviderModelForm
from routing.admin.object_fields import ProviderForm
from routing.admin.owner import owner
from routing.managed import MODELS, PROVIDERS, TARGETS
from routing.models import Provider, ProviderModel, Target, UpstreamTest
from routing.reports import upstreams
from routing.reports.upstreams import ProviderFigures
from tenants.console.actions import console_action
from tenants.console.scoped_admin import (
    Deleted,
    NarrowedList,
    TenantModelAdmin,
    TenantRelatedFilter,
    access,
)
from tenants.console.scoped_forms import LEFT_BEHIND
from tenants.console.search import FoundBy

MAX_TESTS_SHOWN = 20


class ProviderList(NarrowedList):
    """Providers, each with how it is doing."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = list(self.result_list)
        figures = upstreams.of_providers(access(request), rows)
        for row in rows:
            row.figures = figures[row.pk]
        self.result_list = rows  # what follows counts and iterates it


@admin.register(Provider)
class ProviderAdmin(TenantModelAdmin):
    when_empty = gettext_lazy("A provider answers requests: a vendor, or a server of your own.")
    resource = PROVIDERS
    form = ProviderForm
    found_by = FoundBy(names=("name",))
    change_list_template = "admin/routing/provider/change_list.html"
    list_display = (
        "name",
        owner,
        "protocol",
        "credential_shown",
        "models_shown",
        "success_shown",
        "last_test_shown",
        "enabled",
    )
    list_select_related = ("tenant",)
    list_filter = ("protocol", "enabled", ("tenant", TenantRelatedFilter))
    show_full_result_count = False
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
        "forward_trace_context",
        "limits",
        "enabled",
        "created_at",
        "tests_shown",
    )
    readonly_fields = ("created_at", "tests_shown")
    autocomplete_fields = ("tenant",)

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[NarrowedList]:
        return ProviderList

    def _hidden_fields(self, request: HttpRequest, row: Model | None) -> Sequence[str]:
        """Hide the tests of the platform's providers from tenants: an error may say where they lie."""
        hidden = super()._hidden_fields(request, row)
        is_theirs = isinstance(row, Provider) and self.may("change", request, row)
        return hidden if is_theirs or access(request).sees_all_tenants else (*hidden, "tests_shown")

    @admin.display(description=gettext_lazy("Credential"))
    def credential_shown(self, provider: Provider) -> SafeString | str:
        figures = _figures(provider)
        if provider.auth_kind == Provider.AuthKind.NONE:
            return _("needs none")
        if not figures.credentials:
            return shown.NOTHING
        more = len(figures.credentials) - 1
        return f"{figures.credentials[0]} +{more}" if more else figures.credentials[0]

    @admin.display(description=gettext_lazy("Models"))
    def models_shown(self, provider: Provider) -> str:
        return number_format(_figures(provider).models, 0, force_grouping=True)

    @admin.display(description=gettext_lazy("Answered, last hour"))
    def success_shown(self, provider: Provider) -> SafeString:
        return shown.success(_figures(provider).traffic)

    @admin.display(description=gettext_lazy("Last test"))
    def last_test_shown(self, provider: Provider) -> SafeString | str:
        return shown.test(_figures(provider).test)

    @admin.display(description=gettext_lazy("Tests"))
    def tests_shown(self, provider: Provider) -> SafeString | str:
        tests = UpstreamTest.objects.filter(provider=provider).order_by("-tested_at")
        rows = [
            (each.upstream_id or _("list of models"), shown.test(each))
            for each in tests[:MAX_TESTS_SHOWN]
        ]
        if not rows:
            return _("Nothing has been tested yet: use “Test” above.")
        return format_html_join("", "<div>{}: {}</div>", rows)

    @console_action(
        gettext_lazy("Test"),
        right="change",
        asks=gettext_lazy("The provider is asked for its list of models, which costs nothing."),
    )
    def test_provider(self, request: HttpRequest, row: Provider) -> str | None:
        kept, models = testing.try_provider(access(request), row)
        if not kept.ok:
            self.message_user(request, kept.error, messages.ERROR)
            return None
        text = ngettext(
            "It answered after %(ms)s ms and lists %(count)s model.",
            "It answered after %(ms)s ms and lists %(count)s models.",
            len(models),
        )
        return text % {
            "ms": number_format(kept.latency_ms, 0, force_grouping=True),
            "count": number_format(len(models), 0, force_grouping=True),
        }

    @console_action(
        gettext_lazy("Update models"),
        right="change",
        asks=gettext_lazy(
            "Models that the provider lists and that are not here yet are added. None is removed, and no "
            "alias is made."
        ),
    )
    def update_models(self, request: HttpRequest, row: Provider) -> str:
        synced = testing.sync_models(access(request), row)
        text = _("%(added)s models were added, %(existing)s were there already.")
        return text % {"added": len(synced.added), "existing": len(synced.existing)}

    def get_deleted_objects(
        self, objs: Sequence[Any] | QuerySet[Any], request: HttpRequest
    ) -> Deleted:
        """Name the aliases that lose a target; their targets go with the provider."""
        named, counts, forbidden, protected = super().get_deleted_objects(objs, request)
        if protected == [str(LEFT_BEHIND)]:
            return named, counts, forbidden, protected
        targets = losing.targets_of(objs)
        if any(not TARGETS.may(access(request), "delete", each) for each in targets):
            forbidden = {*forbidden, str(Target._meta.verbose_name)}
        counts = {**counts, **({_("targets"): len(targets)} if targets else {})}
        return [*losing.sentences(targets), *named], counts, forbidden, []

    def delete_model(self, request: HttpRequest, obj: Provider) -> None:
        with durable_transaction():
            losing.targets_of([obj]).delete()
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Provider]) -> None:
        with durable_transaction():
            losing.targets_of(queryset).delete()
            super().delete_queryset(request, queryset)


def _figures(provider: Provider) -> ProviderFigures:
    found: ProviderFigures = getattr(provider, "figures", ProviderFigures())
    return found


@admin.register(ProviderModel)
class ProviderModelAdmin(TenantModelAdmin):
    when_empty = gettext_lazy("Models come with their provider when it is set up.")
    resource = MODELS
    form = ProviderModelForm
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

    @admin.display(description=gettext_lazy("Owner"), ordering="provider__tenant__name")
    def owner(self, model: ProviderModel) -> str:
        return owner(model.provider)
