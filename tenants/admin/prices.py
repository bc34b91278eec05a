"""The page on prices: drafts are edited, published versions are looked at."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse

from gateway_project.lib import clock
from gateway_project.lib.commands import in_words
from tenants.access import Area, Right
from tenants.admin import confirming
from tenants.models import PriceLine, PriceVersion
from tenants.prices import dollars, publishing
from tenants.scoped_admin import TenantInline, TenantModelAdmin, TenantRelatedFilter, access


def _is_frozen(row: Model | None, right: Right) -> bool:
    """Whether nobody may do this, because the version is published."""
    is_published = isinstance(row, PriceVersion) and row.published_at is not None
    return is_published and right != "view"


class LineInline(TenantInline):
    model = PriceLine
    area = Area.PRICES
    fields = ("token_class", "service_tier", "above_tokens", "pico_per_token", "dollars_shown")
    readonly_fields = ("dollars_shown",)
    ordering = ("service_tier", "above_tokens", "pk")
    verbose_name_plural = "Prices per token"

    @admin.display(description="$ per million tokens")
    def dollars_shown(self, line: PriceLine) -> str:
        return dollars.per_million(line.pico_per_token) if line.pk is not None else ""

    def may(self, right: Right, request: HttpRequest, row: Model | None) -> bool:
        return not _is_frozen(row, right) and super().may(right, request, row)


@admin.register(PriceVersion)
class PriceVersionAdmin(TenantModelAdmin):
    """Operators see and make all; tenant staff see what was published for their tenant to be charged at."""

    area = Area.PRICES
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

    @admin.display(description="Price of", ordering="model")
    def subject_shown(self, version: PriceVersion) -> str:
        return version.subject

    @admin.display(description="For", ordering="tenant__name")
    def owner(self, version: PriceVersion) -> str:
        return str(version.tenant) if version.tenant is not None else "Platform"

    def may(self, right: Right, request: HttpRequest, row: Model | None) -> bool:
        return not _is_frozen(row, right) and super().may(right, request, row)

    def scoped(self, rows: QuerySet[Any], request: HttpRequest) -> QuerySet[Any]:
        rows = super().scoped(rows, request)
        if access(request).is_operator:
            return rows
        return rows.filter(book=PriceVersion.Book.CHARGE, published_at__isnull=False)

    @admin.action(permissions=["change"], description="Publish, to count from when it says")
    def publish(
        self, request: HttpRequest, queryset: QuerySet[PriceVersion]
    ) -> HttpResponse | None:
        return self._publish(request, list(queryset), or_from_now=False)

    @admin.action(permissions=["change"], description="Publish; dated in the past, count from now")
    def publish_from_now(
        self, request: HttpRequest, queryset: QuerySet[PriceVersion]
    ) -> HttpResponse | None:
        return self._publish(request, list(queryset), or_from_now=True)

    def _publish(
        self, request: HttpRequest, versions: list[PriceVersion], *, or_from_now: bool
    ) -> HttpResponse | None:
        if not confirming.is_confirmed(request):
            template = "admin/tenants/priceversion/publish.html"
            return confirming.ask(self, request, template, versions, title="Publish prices")
        who, now = request.user.get_username(), clock.now()
        for version in versions:
            try:
                publishing.publish(version, who, now, or_from_now=or_from_now)
            except ValidationError as error:
                self.message_user(request, f"{version}: {in_words(error)}", messages.ERROR)
            else:
                self.log_change(request, version, "Published.")
                self.message_user(request, f"{version} is published.", messages.SUCCESS)
        return None
