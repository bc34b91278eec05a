"""The page of prices: drafts are edited, published versions are only shown."""

from __future__ import annotations

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.formats import number_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock
from gateway_project.lib.commands import in_words
from tenants import units
from tenants.access.rights import Area, Right
from tenants.admin import confirming
from tenants.admin.price_lines import PriceLineForm, class_in_words
from tenants.console.scoped_admin import TenantInline, TenantModelAdmin, TenantRelatedFilter, access
from tenants.managed.tables import PRICES
from tenants.models import PriceLine, PriceVersion
from tenants.prices import dollars, publishing


class LineInline(TenantInline):
    model = PriceLine
    hide_title = True
    form = PriceLineForm
    area = Area.PRICES
    fields = ("token_class", "service_tier", "above_tokens", "dollars")
    readonly_fields = ("class_shown",)
    ordering = ("service_tier", "above_tokens", "pk")
    verbose_name_plural = _("Prices")

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        if obj is None or self.may("change", request, obj):
            return self.fields
        return ("class_shown", *self.fields[1:])

    @admin.display(description=_("Price of"))
    def class_shown(self, line: PriceLine) -> str:
        return class_in_words(line.token_class)

    @admin.display(description=_("Dollars"))
    def dollars(self, line: PriceLine) -> str:
        exact = dollars.said(line.pico_per_token, units.of(line.token_class).priced_per)
        return f"${number_format(exact, len(exact.partition('.')[2]), force_grouping=True)}"

    def may(self, right: Right, request: HttpRequest, row: Model | None) -> bool:
        return PRICES.may(access(request), right, row)


@admin.register(PriceVersion)
class PriceVersionAdmin(TenantModelAdmin):
    """Operators see and make all versions; tenant staff see those published for their tenant's charges."""

    when_empty = _(
        "A price is a draft until it is published. Prices, beside this page, shows which one holds."
    )
    resource = PRICES
    list_display = ("subject_shown", "book", "owner", "effective_from", "published_at", "source")
    list_select_related = ("tenant",)
    list_filter = (
        "book",
        ("published_at", admin.EmptyFieldListFilter),
        ("tenant", TenantRelatedFilter),
    )
    search_fields = ("provider", "model", "source", "tenant__name")
    fields = (
        "book",
        "tenant",
        "provider",
        "model",
        "effective_from",
        "source",
        "created_at",
        "published_at",
        "published_by",
    )
    readonly_fields = ("created_at", "published_at", "published_by")
    autocomplete_fields = ("tenant",)
    inlines = (LineInline,)
    actions = ("publish", "publish_from_now")

    @admin.display(description=_("Price of"), ordering="model")
    def subject_shown(self, version: PriceVersion) -> str:
        return version.subject

    @admin.display(description=_("For"), ordering="tenant__name")
    def owner(self, version: PriceVersion) -> str:
        return str(version.tenant) if version.tenant is not None else gettext("Platform")

    @admin.action(permissions=["change"], description=_("Publish, effective from its date"))
    def publish(
        self, request: HttpRequest, queryset: QuerySet[PriceVersion]
    ) -> HttpResponse | None:
        return self._publish(request, list(queryset), or_from_now=False)

    @admin.action(
        permissions=["change"], description=_("Publish, effective now if its date has passed")
    )
    def publish_from_now(
        self, request: HttpRequest, queryset: QuerySet[PriceVersion]
    ) -> HttpResponse | None:
        return self._publish(request, list(queryset), or_from_now=True)

    def _publish(
        self, request: HttpRequest, versions: list[PriceVersion], *, or_from_now: bool
    ) -> HttpResponse | None:
        if not confirming.is_confirmed(request):
            template = "admin/tenants/priceversion/publish.html"
            return confirming.ask(
                self, request, template, versions, title=gettext("Publish prices")
            )
        who, now = request.user.get_username(), clock.now()
        for version in versions:
            try:
                publishing.publish(version, who, now, or_from_now=or_from_now)
            except ValidationError as error:
                self.message_user(
                    request,
                    gettext("%(version)s: %(in_words)s")
                    % {"version": version, "in_words": in_words(error)},
                    messages.ERROR,
                )
            else:
                self.log_change(request, version, "Published.")
                self.message_user(
                    request,
                    gettext("%(version)s is published.") % {"version": version},
                    messages.SUCCESS,
                )
        return None
