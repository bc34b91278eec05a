"""The pages of tenants and of their deletion. Operators make and delete them; owners and admins may rename
their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway_project.lib import clock
from gateway_project.lib.json import Json
from tenants import suspension
from tenants.access.rights import Area
from tenants.admin.browsing import BrowsingAdmin
from tenants.admin.described import DescribedAdmin
from tenants.budgets import zones
from tenants.console import drawing
from tenants.console.actions import console_action
from tenants.console.live import live_topic
from tenants.console.scoped_admin import access
from tenants.console.search import FoundBy
from tenants.deletion import asking, work
from tenants.managed.tables import TENANTS
from tenants.managed.values import could_be_key
from tenants.models import Tenant, TenantDeletion
from tenants.reports.tenants import figures


class DeleteTenantForm(forms.Form):
    """Asks for the slug, so that no click alone deletes a tenant."""

    slug = forms.CharField(label=gettext_lazy("Its slug, to confirm"), max_length=63)


def is_suspended(tenant: Tenant) -> bool:
    return tenant.status == Tenant.Status.SUSPENDED


def is_active(tenant: Tenant) -> bool:
    return not is_suspended(tenant)


@admin.register(Tenant)
class TenantAdmin(DescribedAdmin):
    when_empty = gettext_lazy(
        "A tenant is a customer or a team, with keys, budgets and bills of its own. Begin with one."
    )
    resource = TENANTS
    found_by = FoundBy(names=("name", "slug"))
    proof_for = frozenset({"delete"})
    list_display = (
        *("name", "slug", "state_shown", "keys_shown", "members_shown", "charge_shown"),
        *("time_zone", "created_at"),
    )
    list_filter = ("status",)
    search_fields = ("name", "slug")
    fields = (
        "name",
        "slug",
        "time_zone",
        "status",
        "allow_direct_targets",
        "shows_upstreams",
        "store_by_default",
        "retention_days",
        "requires_second_factor",
        "requires_identity_provider",
        "created_at",
    )
    readonly_fields = ("created_at",)

    # The list

    def describe(self, request: HttpRequest, rows: Sequence[Any]) -> None:
        known, who = figures(rows), access(request)
        for row in rows:
            row.figures = known[row.pk]
            areas = (Area.KEYS, Area.MEMBERS, Area.USAGE)
            row.seen = {area for area in areas if who.may("view", area, row.pk)}

    @admin.display(description=gettext_lazy("Status"), ordering="status")
    def state_shown(self, tenant: Tenant) -> SafeString:
        kind, word = "good", _("Active")
        if is_suspended(tenant):
            kind, word = "bad", _("Suspended")
        return format_html('<span class="tg-badge tg-badge--{}">{}</span>', kind, word)

    @admin.display(description=gettext_lazy("Keys in use"))
    def keys_shown(self, tenant: Any) -> SafeString | str:
        page = reverse("admin:tenants_apikey_changelist")
        return _linked(
            tenant, Area.KEYS, number_format(tenant.figures.keys, 0, force_grouping=True), page
        )

    @admin.display(description=gettext_lazy("Members"))
    def members_shown(self, tenant: Any) -> SafeString | str:
        page = reverse("admin:tenants_membership_changelist")
        return _linked(
            tenant,
            Area.MEMBERS,
            number_format(tenant.figures.members, 0, force_grouping=True),
            page,
        )

    @admin.display(description=gettext_lazy("This month"))
    def charge_shown(self, tenant: Any) -> SafeString | str:
        charge = drawing.money(tenant.figures.charge_nano)
        return _linked(tenant, Area.USAGE, charge, reverse("admin:usage"), period="month")

    # The page of a tenant

    @console_action(
        gettext_lazy("Suspend"),
        right="delete",
        asks=gettext_lazy(
            "Its keys are refused within a second, and its people can only read, until it is resumed. "
            "Nothing is deleted."
        ),
        is_harmful=True,
        shown_for=is_active,
    )
    def suspend(self, request: HttpRequest, row: Tenant) -> str:
        suspension.suspend(row, access(request))
        self.log_change(request, row, "Suspended.")
        return _("%(tenant)s is suspended: its keys are refused.") % {"tenant": row.name}

    @console_action(
        gettext_lazy("Resume"),
        right="delete",
        asks=gettext_lazy("Its keys are let in again, and its people may change things again."),
        shown_for=is_suspended,
    )
    def resume(self, request: HttpRequest, row: Tenant) -> str:
        suspension.resume(row, access(request))
        self.log_change(request, row, "Resumed.")
        return _("%(tenant)s goes on: its keys are let in again.") % {"tenant": row.name}

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Offer operators to act as the tenant."""
        page = reverse("admin:tenants_supportsession_add")
        row = self.get_object(request, unquote(object_id))
        is_offered = access(request).is_operator and row is not None
        link = f"{page}?{urlencode({'tenant': row.slug})}" if is_offered else ""
        shown = {**(extra_context or {}), "support_url": link}
        return super().change_view(request, object_id, form_url, shown)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        """Leave the status of a tenant to the buttons that say what it means."""
        fields = super().get_readonly_fields(request, obj)
        return [*fields, "status"] if obj is not None and "status" not in fields else fields

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Leave out Django's deletion: a tenant is deleted alone, and by a job."""
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        tenant = self.get_object(request, unquote(object_id))
        if tenant is None:
            raise Http404
        if not self.has_delete_permission(request, tenant):
            raise PermissionDenied
        self._demand(request, "delete")
        if (begun := TenantDeletion.objects.filter(tenant=tenant).first()) is not None:
            return HttpResponseRedirect(_page_of(begun))
        self._demand(request, "delete")  # here, because nothing of Django's own page is used
        form = DeleteTenantForm(request.POST or None)
        if form.is_valid() and (begun := self._begin(request, tenant, form)) is not None:
            self.message_user(
                request,
                _("%(tenant)s is being deleted. Its keys are refused within a second.")
                % {"tenant": tenant},
            )
            return HttpResponseRedirect(_page_of(begun))
        return self._ask(request, tenant, form)

    def _begin(
        self, request: HttpRequest, tenant: Tenant, form: DeleteTenantForm
    ) -> TenantDeletion | None:
        try:
            return asking.ask(tenant, access(request), typed_slug=form.cleaned_data["slug"])
        except ValidationError as error:
            form.add_error("slug", error.messages[0])
            return None

    def _ask(self, request: HttpRequest, tenant: Tenant, form: DeleteTenantForm) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("Delete %(tenant)s") % {"tenant": tenant},
            "opts": self.opts,
            "tenant": tenant,
            "remaining": _in_words(work.remaining(tenant)),
            "form": form,
            "media": self.media,
        }
        return TemplateResponse(request, "admin/tenants/tenant/delete.html", context)

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        assert isinstance(obj, Tenant)
        if "time_zone" in form.changed_data and (text := _when_it_counts(obj)):
            self.message_user(request, text)


def _linked(tenant: Any, area: Area, text: str, page: str, **parameters: str) -> SafeString | str:
    """Link a figure to the page it is of, or show that it is not theirs to see."""
    if area not in tenant.seen:
        return "—"
    query = urlencode({"tenant": tenant.slug, **parameters})
    return format_html('<a href="{}?{}">{}</a>', page, query, text)


def _when_it_counts(tenant: Tenant) -> str:
    """Say when the chosen zone takes effect for budgets; empty if it already has."""
    pending = zones.pending(tenant.zone_switches, clock.timestamp())
    when = ", ".join(
        f"{period} ones from {datetime.fromtimestamp(switch.at, UTC):%Y-%m-%d %H:%M} UTC"
        for period, switch in pending.items()
    )
    return f"Budgets count in {tenant.time_zone} from their next period on: {when}." if when else ""


@admin.register(TenantDeletion)
class TenantDeletionAdmin(BrowsingAdmin):
    area = Area.TENANT
    change_form_template = "admin/tenants/progress.html"
    when_empty = gettext_lazy("A tenant is deleted on its own page.")
    list_display = ("tenant", "state", "asked_by", "asked_at", "finished_at", "erased")
    list_filter = ("state",)
    sortable_by = ("asked_at",)
    fields = ("tenant", "state", "asked_by", "asked_at", "finished_at", "erased", "left")
    readonly_fields = ("erased", "left")
    list_select_related: ClassVar[tuple[str, ...]] = ("tenant",)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *rest: Any, **options: Any
    ) -> HttpResponse:
        deletion = options.get("obj")
        shown = {} if deletion is None else _progress_of(deletion)
        return super().render_change_form(request, {**context, **shown}, *rest, **options)

    @admin.display(description=gettext_lazy("Erased and digested"))
    def erased(self, deletion: TenantDeletion) -> str:
        return "; ".join(_in_words(deletion.counts)) or _("nothing yet")

    @admin.display(description=gettext_lazy("Left to erase"))
    def left(self, deletion: TenantDeletion) -> str:
        return "; ".join(_in_words(work.remaining(deletion.tenant))) or _("nothing")


def _progress_of(deletion: TenantDeletion) -> dict[str, Any]:
    """Return what the page of a deletion shows above its facts, in words and as a bar."""
    is_running = deletion.state == TenantDeletion.State.RUNNING
    left = sum(work.remaining(deletion.tenant).values()) if is_running else 0
    erased = sum(deletion.counts.values())
    figures = {
        "erased": number_format(erased, 0, force_grouping=True),
        "left": number_format(left, 0, force_grouping=True),
    }
    text = _("%(erased)s rows are erased or digested, %(left)s are left.") % figures
    label = deletion.get_state_display()
    return {
        "topic": "deletion",
        "badge": format_html(
            '<span class="tg-badge tg-badge--{}">{}</span>', "idle" if is_running else "good", label
        ),
        "sentence": text,
        "percent": 100 * erased // (erased + left) if erased + left else 0,
        "is_moving": is_running,
    }


@live_topic("deletion", every_seconds=5)
def follow_deletion(request: HttpRequest) -> Json:
    """Tell the page of a deletion how far it is; operators and auditors, who see all tenants."""
    key = request.GET.get("deletion", "")
    if not access(request).may("view", Area.TENANT, None) or not could_be_key(
        TenantDeletion, "pk", key
    ):
        raise Http404
    deletion = TenantDeletion.objects.select_related("tenant").filter(pk=key).first()
    if deletion is None:
        raise Http404
    shown = _progress_of(deletion)
    return {
        "text": shown["sentence"],
        "percent": shown["percent"],
        "is_over": not shown["is_moving"],
    }


def _page_of(deletion: TenantDeletion) -> str:
    return reverse("admin:tenants_tenantdeletion_change", args=(deletion.pk,))


def _in_words(counts: dict[str, int]) -> list[str]:
    return [work.in_words(label, count) for label, count in counts.items()]
