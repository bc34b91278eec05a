"""The page of the audit log: read-only, for operators and for members whose role may view it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.handlers.asgi import ASGIRequest
from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from tenants.access.rights import Area
from tenants.admin.browsing import BrowsingAdmin
from tenants.audit import events, export, registry
from tenants.console.change_words import changes_in_short, read
from tenants.console.scope import asked_tenant
from tenants.console.scoped_admin import TenantRelatedFilter, access
from tenants.models import AuditCheckpoint, AuditEvent, Tenant
from tenants.models.audit import PLATFORM
from tenants.reports import audit as reports
from tenants.reports.audit import AuditFilter

VERBS = ("created", "changed", "deleted")
DAY = timedelta(days=1)
YEARS = range(1970, 3000)


class ActionFilter(admin.SimpleListFilter):
    """Filters by action. The choices come from the code, not from a million rows."""

    title = _("action")
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        changes = [f"{told.name}.{verb}" for told in registry.RECORDED.values() for verb in VERBS]
        return [(name, name) for name in sorted({*events.ACTIONS, *changes})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return reports.filtered(queryset, AuditFilter(action=self.value() or ""))


class TypedFilter(admin.SimpleListFilter):
    """A filter by what somebody types: a small form that keeps the other filters."""

    template = "admin/tenants/auditevent/typed_filter.html"
    kind = "text"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("", "")]  # without choices Django would leave the filter out

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        others = changelist.get_filters_params().items()
        yield {
            "others": [(k, v) for k, found in others if k != self.parameter_name for v in found],
            "query_string": changelist.get_query_string(remove=[str(self.parameter_name)]),
            "display": "All",
            "selected": not self.value(),
        }

    @property
    def typed(self) -> str:
        return (self.value() or "").strip()


class ActorFilter(TypedFilter):
    """Filters by the name of who acted."""

    title = _("actor")
    parameter_name = "actor"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return reports.filtered(queryset, AuditFilter(actor=self.typed))


class ObjectFilter(TypedFilter):
    """Filters by the id of what was acted on."""

    title = _("object id")
    parameter_name = "object"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return reports.filtered(queryset, AuditFilter(object_id=self.typed))


class DayFilter(TypedFilter):
    """The base of filters by a day, in UTC. What is not a date is no filter, nor are impossible years."""

    kind = "date"

    def day(self) -> datetime | None:
        try:
            found = datetime.combine(date.fromisoformat(self.typed), time(), UTC)
        except ValueError:
            return None
        return found if found.year in YEARS else None


class FromFilter(DayFilter):
    """Filters by the first day that counts."""

    title = _("from (UTC)")
    parameter_name = "from"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return reports.filtered(queryset, AuditFilter(start=self.day()))


class ToFilter(DayFilter):
    """Filters by the last day that counts."""

    title = _("to (UTC)")
    parameter_name = "to"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        day = self.day()
        return reports.filtered(queryset, AuditFilter(end=day + DAY if day else None))


@admin.register(AuditEvent)
class AuditEventAdmin(BrowsingAdmin):
    """Events outlive their tenant, so its name is looked up and not joined."""

    class Media:
        css: ClassVar = {"all": ("console/settings.css",)}

    area = Area.AUDIT
    has_history = False
    change_list_template = "admin/tenants/auditevent/change_list.html"
    bodies = ("details",)
    list_select_related: ClassVar[tuple[str, ...]] = ()
    list_display = ("at", "owner", "who", "action", "what", "changed")
    list_filter = (
        ActionFilter,
        ActorFilter,
        ObjectFilter,
        FromFilter,
        ToFilter,
        ("tenant", TenantRelatedFilter),
    )
    ordering = ("-id",)  # along the indexes: ids begin with the time
    sortable_by = ()
    search_fields = ("id",)  # see get_search_results
    search_help_text = _("The id of an event.")
    fields = (
        "id",
        "at",
        "owner",
        "sequence",
        "actor_kind",
        "actor_id",
        "actor_name",
        "address",
        "reason",
        "action",
        "object_type",
        "object_id",
        "object_name",
        "difference",
        "facts",
        "previous_hash",
        "hash",
    )
    readonly_fields = ("owner", "difference", "facts")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        if (tenants := self._tenants(request)) is not None:
            rows = reports.without_upstreams(
                rows.filter(tenant__in=tenants), access(request).aliases_only
            )
        name = Tenant.objects.filter(pk=OuterRef("tenant_id")).values("name")
        named: QuerySet[Any] = rows.annotate(owner_name=Subquery(name[:1]))
        return named

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term:
            return queryset, False
        found = _event_id(search_term.strip())
        return (queryset.filter(pk=found) if found else queryset.none()), False

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.export_view)
        return [path("export/", view, name="tenants_auditevent_export"), *super().get_urls()]

    def export_view(self, request: HttpRequest) -> StreamingHttpResponse:
        """Stream the log of the tenants whose log the person may view. That they have it is recorded."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        tenants = self._tenants(request)
        _record_export(tenants)
        found = export.pages(tenants, aliases_only=access(request).aliases_only)
        is_async = isinstance(request, ASGIRequest)
        body: Any = export.streamed(found) if is_async else ("\n".join([*p, ""]) for p in found)
        return StreamingHttpResponse(
            body,
            content_type="application/jsonl; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="audit.jsonl"'},
        )

    @staticmethod
    def _tenants(request: HttpRequest) -> list[int] | None:
        """Return the tenants whose log the person may view; None for all, and the platform's."""
        who = access(request)
        if who.may("view", Area.AUDIT, None):
            return None
        return sorted(who.tenants_where("view", Area.AUDIT))

    @admin.display(description=_("Tenant"))
    def owner(self, row: Any) -> str:
        if row.tenant_id is None:
            return gettext("Platform")
        return str(row.owner_name or f"{row.tenant_id} (deleted)")

    @admin.display(description=_("Actor"))
    def who(self, row: AuditEvent) -> SafeString:
        name = row.actor_name or row.get_actor_kind_display()
        address = row.address or ""
        text = '<span class="tg-wrap">{} <span class="tg-grey">{}</span></span>'
        return format_html(text, name, address)

    @admin.display(description=_("Object"))
    def what(self, row: AuditEvent) -> SafeString:
        told = f"{row.object_type} {row.object_name}".strip()
        return format_html('<span class="tg-wrap">{}</span>', told)

    @admin.display(description=_("Before and after"))
    def changed(self, row: AuditEvent) -> SafeString:
        return changes_in_short(row)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Tell up to where the chain that is looked at was last signed."""
        chosen, tenants = asked_tenant(request), self._tenants(request)
        number = PLATFORM if chosen is None else chosen.pk
        is_theirs = tenants is None or number in tenants
        last = AuditCheckpoint.objects.filter(chain=number).order_by("-sequence").first()
        shown = {"checkpoint": last if is_theirs else None}
        return super().changelist_view(request, {**shown, **(extra_context or {})})

    @admin.display(description=_("Changes"))
    def difference(self, row: AuditEvent) -> SafeString:
        lines = [
            (name, _shown(before), _shown(after))
            for name, (before, after) in read(row.changes).items()
        ]
        return format_html_join("", "<div><b>{}</b>: {} → {}</div>", lines) or SafeString("none")

    @admin.display(description=_("Details"))
    def facts(self, row: AuditEvent) -> SafeString:
        lines = [(name, _shown(value)) for name, value in read(row.details).items()]
        return format_html_join("", "<div><b>{}</b>: {}</div>", lines) or SafeString("none")


def _record_export(tenants: list[int] | None) -> None:
    """Record an export in every log it contains; that of all is the platform's matter."""
    with transaction.atomic():
        for tenant_id in [None] if tenants is None else tenants:
            events.record("audit.exported", tenant_id=tenant_id)


def _event_id(text: str) -> str | None:
    try:
        return str(AuditEvent._meta.pk.to_python(text))
    except ValidationError:
        return None


def _shown(value: Any) -> Any:
    if value is None:
        return SafeString("<i>empty</i>")
    return format_html("<code>{}</code>", value if isinstance(value, str) else json.dumps(value))
