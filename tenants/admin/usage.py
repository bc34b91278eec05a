"""The pages of the ledger's rows and their sums, read-only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Model, OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from tenants import units
from tenants.admin.browsing import BrowsingAdmin
from tenants.admin.usage_details import Group, ToldCall, ToldSum, ToldUsage
from tenants.billing.money import exact_dollars
from tenants.console.scoped_admin import TenantModelAdmin, TenantRelatedFilter, access
from tenants.console.search import FoundRow
from tenants.ledger import row_ids
from tenants.managed.tables import USAGE_DAYS, USAGE_HOURS, USAGE_ROWS
from tenants.models import ApiKey, Tenant, UsageDay, UsageHour, UsageRow
from tenants.reports.request_detail import find_request
from tenants.templatetags.figures import count
from tenants.token_classes import INPUT_CLASSES, OUTPUT_CLASSES

MAX_ALIASES = 100


# What answered a call; not shown to tenants whose `shows_upstreams` is off.
OF_UPSTREAMS = frozenset({"provider", "upstream_model"})


def _shown(name: str, quantity: int) -> str:
    unit = units.of(name)
    return f"{unit.shown(quantity)} {unit.label}"


class AliasFilter(admin.SimpleListFilter):
    """Filters by alias. The choices come from the sums, which are few, of the tenants the person may see."""

    title = _("alias")
    parameter_name = "alias"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        assert isinstance(model_admin, TenantModelAdmin)
        rows = model_admin.scoped(UsageDay.objects.order_by("alias"), request)
        names = rows.values_list("alias", flat=True).distinct()[:MAX_ALIASES]
        return [(name, name) for name in names]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(alias=self.value())


class UsageAdmin(ToldUsage, BrowsingAdmin):
    """Rows outlive their tenant and their key, so names are looked up and not joined."""

    list_select_related: ClassVar[tuple[str, ...]] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        owners = Tenant.objects.filter(pk=OuterRef("tenant_id"))
        keys = ApiKey.objects.filter(
            tenant=OuterRef("tenant_id"), public_id=OuterRef("key_public_id")
        ).order_by()
        rows: QuerySet[Any] = super().get_queryset(request)
        named: QuerySet[Any] = rows.annotate(
            owner_name=Subquery(owners.values("name")[:1]),
            key_pk=Subquery(keys.values("pk")[:1]),
            key_name=Subquery(keys.values("name")[:1]),
        )
        return named

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        hidden = self.hidden(request, None)
        names = [name for name in super().get_list_display(request) if name not in hidden]
        is_hidden = "upstream_model" in hidden
        return ["alias" if name == "served" and is_hidden else name for name in names]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        return [name for _title, names in self.groups for name in names]

    def hidden(self, request: HttpRequest, row: Any) -> frozenset[str]:
        assert self.resource is not None
        return self.resource.hidden(access(request), row or self.model())

    @admin.display(description=_("Tenant"))
    def owner(self, row: Any) -> str:
        return str(row.owner_name or row.tenant_id)

    @admin.display(description=_("Key"))
    def key(self, row: Any) -> SafeString | str:
        """Lead to the key by its name; of one that is gone the id is left."""
        if row.key_pk is None:
            return str(row.key_public_id)
        address = reverse("admin:tenants_apikey_change", args=[row.key_pk])
        return format_html(
            '<span><a href="{}">{}</a> <span class="tg-below">{}</span></span>',
            *(address, row.key_name, row.key_public_id),
        )

    @admin.display(description=_("Alias → answered by"))
    def served(self, row: Any) -> SafeString | str:
        if not row.provider:
            return str(row.alias)
        return format_html(
            '<span>{} <span class="tg-below">{}/{}</span></span>',
            *(row.alias, row.provider, row.upstream_model),
        )

    @admin.display(description=_("Tokens in → out"))
    def tokens(self, row: Any) -> SafeString:
        read, written = (
            sum(getattr(row, name) for name in names) for names in (INPUT_CLASSES, OUTPUT_CLASSES)
        )
        return format_html('<span class="nowrap">{} → {}</span>', count(read), count(written))

    @admin.display(description=_("Charge, USD"))
    def charge(self, row: Any) -> str:
        return exact_dollars(row.charge_nano)

    @admin.display(description=_("Cost, USD"))
    def cost(self, row: Any) -> str:
        return exact_dollars(row.cost_nano)


@admin.register(UsageRow)
class UsageRowAdmin(ToldCall, UsageAdmin):
    resource = USAGE_ROWS
    when_empty = _("A call stands here seconds after it ended. Make a first one with an API key.")
    list_display = (
        "opened_at",
        "owner",
        "key",
        "served",
        "status_shown",
        "tokens",
        "cost",
        "charge",
    )
    list_filter = (
        AliasFilter,
        "status",
        "usage_source",
        "usage_anomaly",
        ("tenant", TenantRelatedFilter),
    )
    # Along the indexes by time, of one tenant or of all.
    ordering = ("-opened_at",)
    sortable_by = ("opened_at",)
    search_fields = ("id",)  # see get_search_results
    search_help_text = _("The id of a request, req_…, finds its calls.")
    groups: ClassVar[tuple[Group, ...]] = (
        (None, ("request_id", "whole_request", "tenant", "key", "end_user_told", "tags_told")),
        (
            _("Answer"),
            ("asked_for", "endpoint", "answered_by", "tier", "attempt", "outcome", "guardrails", "cache"),
        ),
        (_("Time"), ("opened_at", "first_token", "duration", "own_work", "recorded_at", "read_from")),
        (
            _("Charge"),
            ("rated_quantities", "units_shown", "counted_by", "charge_told", "held", "unfunded",
             "list_price", "cost_told"),
        ),
        (_("Correction"), ("corrected", "why", "by")),
    )  # fmt: skip
    always = frozenset({"whole_request", "tenant", "opened_at", "recorded_at"})

    @admin.display(description=_("Status"))
    def status_shown(self, row: UsageRow) -> SafeString:
        return format_html(
            '<span>{} <span class="tg-below">{}</span></span>',
            *(row.get_status_display(), row.get_usage_source_display()),
        )

    @admin.display(description=_("Request"))
    def request_id(self, row: UsageRow) -> str:
        """Lead to the page that tells the request in whole."""
        request_id = row_ids.request_id_of(row.pk)
        address = reverse("admin:request", args=[request_id])
        return format_html('<a href="{}">{}</a>', address, request_id)

    @admin.display(description=_("All calls of the request"))
    def whole_request(self, row: UsageRow) -> str:
        """Count the request's calls, and sum what they come to with their corrections."""
        first, last = row_ids.rows_of(row_ids.request_id_of(row.pk))
        rows = list(UsageRow.objects.filter(tenant=row.tenant_id, pk__gte=first, pk__lte=last))
        calls = sum(each.corrects is None for each in rows)
        tokens_in, tokens_out = (
            sum(getattr(each, name) for each in rows for name in names)
            for names in (INPUT_CLASSES, OUTPUT_CLASSES)
        )
        charge = exact_dollars(sum(each.charge_nano for each in rows))
        told = ngettext(
            "%(calls)s call, %(input)s tokens in, %(output)s out, %(charge)s USD charged",
            "%(calls)s calls, %(input)s tokens in, %(output)s out, %(charge)s USD charged",
            calls,
        )
        shown = {"input": count(tokens_in), "output": count(tokens_out), "charge": charge}
        return told % {"calls": calls, **shown}

    @admin.display(description=_("Other units"))
    def units_shown(self, row: UsageRow) -> str:
        shares = zip(row.quantities, row.unit_charges, strict=True)
        return "; ".join(
            f"{_shown(name, quantity)}, {exact_dollars(charge)} USD"
            for (name, quantity), charge in shares
        )

    def find(self, request: HttpRequest, words: str, tenant: Tenant | None) -> Iterator[FoundRow]:
        """Yield the request that has this id, answered or refused, if the person may see it."""
        detail = find_request(access(request), words) if words.startswith("req_") else None
        if detail is not None and (tenant is None or tenant.pk == detail.summary.tenant_id):
            yield FoundRow(words, "", reverse("admin:request", args=(words,)), is_exact=True)

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


class SumAdmin(ToldSum, UsageAdmin):
    when_empty = _(
        "Calls are summed up some seconds after they ended. Make a first one with an API key."
    )
    list_display = (
        "starts_at",
        "owner",
        "key",
        "served",
        "requests_shown",
        "tokens",
        "cost",
        "charge",
    )
    list_filter = (AliasFilter, ("tenant", TenantRelatedFilter))
    ordering = ("-starts_at",)
    sortable_by = ("starts_at",)
    groups: ClassVar[tuple[Group, ...]] = (
        (None, ("tenant", "starts_at", "key", "alias", "answered_by")),
        (
            _("Requests"),
            ("requests_told", "calls_told", "failed_told", "estimated_told", "unpriced_told"),
        ),
        (_("Charge"), ("quantities", "units_shown", "charge_told", "unfunded", "cost_told")),
    )
    always = frozenset({"tenant", "starts_at", "alias"})

    @admin.display(description=_("Requests"))
    def requests_shown(self, row: Any) -> SafeString:
        """Write how many there were and, below, how many calls of them failed."""
        failed = gettext("%(count)s failed") % {"count": count(row.failed)} if row.failed else ""
        return format_html(
            '<span>{} <span class="tg-below">{}</span></span>', count(row.requests), failed
        )

    @admin.display(description=_("Other units"))
    def units_shown(self, row: Any) -> str:
        return "; ".join(
            _shown(name, quantity) for name, quantity in units.in_order(row.units or {})
        )


@admin.register(UsageHour)
class UsageHourAdmin(SumAdmin):
    resource = USAGE_HOURS


@admin.register(UsageDay)
class UsageDayAdmin(SumAdmin):
    resource = USAGE_DAYS
