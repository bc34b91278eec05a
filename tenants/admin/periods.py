"""The page of billing periods: what a month comes to so far, and closing it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from gateway_project.lib import clock
from tenants import local_time
from tenants.admin import confirming
from tenants.admin.billing import cents
from tenants.admin.browsing import BrowsingAdmin
from tenants.billing import periods
from tenants.console import drawing
from tenants.console.actions import console_action
from tenants.console.scoped_admin import TenantRelatedFilter, access
from tenants.managed.tables import PERIODS
from tenants.models import BillingPeriod, Invoice
from tenants.reports import billing as reports
from tenants.theme import Checkbox

State = BillingPeriod.State
KINDS = {State.OPEN: "idle", State.CLOSING: "warn", State.DRAFT: "warn", State.FINALIZED: "good"}
# Each shows what it comes to, which takes a few queries where tenants share no month.
MOST_CLOSED = 100


class EarlyForm(forms.Form):
    """Asks whether to close a month although calls of it may still be on their way."""

    force = forms.BooleanField(
        required=False,
        widget=Checkbox,
        label=gettext_lazy("Close it although usage may still arrive; that is billed next month."),
    )


def is_closable(period: BillingPeriod) -> bool:
    return period.state in {State.OPEN, State.CLOSING} and period.ends_at <= clock.now()


def _question(period: BillingPeriod) -> str:
    used = reports.usage_of([period])[period.pk]
    text = ngettext(
        "%(month)s of %(tenant)s (%(zone)s) has %(calls)s call of %(charge)s and becomes a draft "
        "invoice. Usage that arrives later is billed with the next month.",
        "%(month)s of %(tenant)s (%(zone)s) has %(calls)s calls of %(charge)s and becomes a draft "
        "invoice. Usage that arrives later is billed with the next month.",
        used.calls,
    )
    return text % {
        "month": period.month,
        "tenant": period.tenant.name,
        "zone": period.time_zone,
        "calls": number_format(used.calls, 0, force_grouping=True),
        "charge": drawing.money(used.charge_nano),
    }


def _form_of(period: BillingPeriod) -> type[forms.Form]:
    return forms.Form if periods.is_complete(period.ends_at) else EarlyForm


@admin.register(BillingPeriod)
class BillingPeriodAdmin(BrowsingAdmin):
    when_empty = gettext_lazy("Months of tenants stand here; they are made every hour.")
    resource = PERIODS
    change_form_template = "admin/tenants/billingperiod/change_form.html"
    list_display = ("month", "tenant", "begins", "ends", "time_zone", "state_shown")
    list_filter = ("state", ("tenant", TenantRelatedFilter))
    sortable_by = ("begins",)
    ordering = ("-starts_at", "tenant")
    fields = ("tenant", "month", "begins", "ends", "time_zone", "state_shown", "closed_at")
    readonly_fields = (*("month", "begins", "ends", "state_shown"),)
    actions = ("close_chosen",)

    @admin.display(description=gettext_lazy("Month"))
    def month(self, period: BillingPeriod) -> SafeString:
        return format_html('<span class="nowrap">{}</span>', period.month)

    @admin.display(description=gettext_lazy("Begins (local)"), ordering="starts_at")
    def begins(self, period: BillingPeriod) -> str:
        return local_time.minute(period.starts_at, period.time_zone)

    @admin.display(description=gettext_lazy("Ends (local)"))
    def ends(self, period: BillingPeriod) -> str:
        return local_time.minute(period.ends_at, period.time_zone)

    @admin.display(description=gettext_lazy("State"), ordering="state")
    def state_shown(self, period: BillingPeriod) -> SafeString:
        kind = KINDS[State(period.state)]
        label = period.get_state_display()
        is_early = period.closed_at is not None and not period.was_complete
        early = _("closed before all its usage was known") if is_early else ""
        return format_html(
            '<span><span class="tg-badge tg-badge--{}">{}</span><span class="tg-below">{}</span></span>',
            *(kind, label, early),
        )

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *rest: Any, **options: Any
    ) -> HttpResponse:
        period = options.get("obj")
        shown = {} if period is None else _told(period)
        return super().render_change_form(request, {**context, **shown}, *rest, **options)

    # Closing

    def has_close_permission(self, request: HttpRequest) -> bool:
        return access(request).is_operator

    @console_action(
        gettext_lazy("Close month"),
        right="view",
        asks=_question,
        form_for=_form_of,
        operators=True,
        shown_for=is_closable,
    )
    def close(self, request: HttpRequest, row: BillingPeriod, given: dict[str, Any]) -> str:
        return self._closed(request, row, force=given.get("force", False))

    @admin.action(permissions=["close"], description=gettext_lazy("Close month"))
    def close_chosen(
        self, request: HttpRequest, queryset: QuerySet[BillingPeriod]
    ) -> HttpResponse | None:
        if not self.has_close_permission(request):
            raise PermissionDenied
        due = [period for period in queryset.order_by("starts_at", "tenant") if is_closable(period)]
        if not due:
            text = _("None of the chosen months is over and still open.")
            self.message_user(request, text, messages.WARNING)
            return None
        if not confirming.is_confirmed(request):
            return self._ask_to_close(request, due)
        for period in due:
            self._tell_closed(request, period)
        return None

    def _ask_to_close(
        self, request: HttpRequest, due: Sequence[BillingPeriod]
    ) -> HttpResponse | None:
        if len(due) > MOST_CLOSED:
            text = _("Close at most %(most)s months at once.") % {"most": MOST_CLOSED}
            self.message_user(request, text, messages.ERROR)
            return None
        used = reports.usage_of(due)
        figures = [
            (
                period,
                number_format(used[period.pk].calls, 0, force_grouping=True),
                drawing.money(used[period.pk].charge_nano),
            )
            for period in due
        ]
        calls = sum(each.calls for each in used.values())
        charge = drawing.money(sum(each.charge_nano for each in used.values()))
        return confirming.ask(
            self,
            request,
            "admin/tenants/billingperiod/close.html",
            due,
            title=_("Close months"),
            figures=figures,
            months=len(due),
            calls=number_format(calls, 0, force_grouping=True),
            charge=charge,
        )

    def _tell_closed(self, request: HttpRequest, period: BillingPeriod) -> None:
        try:
            text = self._closed(request, period, force=False)
        except ValidationError as error:
            told = f"{period}: {' '.join(error.messages)}"
            self.message_user(request, told, messages.ERROR)
            return
        self.message_user(request, text, messages.SUCCESS)

    def _closed(self, request: HttpRequest, period: BillingPeriod, *, force: bool) -> str:
        closed = periods.close(period, force=force)
        self.log_change(request, closed, "Closed.")
        draft = Invoice.objects.filter(period=closed, kind=Invoice.Kind.INVOICE).first()
        values = {"month": closed.month, "tenant": closed.tenant.name}
        if draft is None:
            text = _(
                "%(month)s of %(tenant)s is closed: nothing was charged, so there is no invoice."
            )
            return text % values
        text = _("%(month)s of %(tenant)s is closed: the draft invoice comes to %(amount)s.")
        return text % {**values, "amount": cents(draft.gross_cents)}


def _told(period: BillingPeriod) -> dict[str, Any]:
    """Return what the page of a period shows above its facts: what it comes to, and its invoice."""
    used = reports.usage_of([period])[period.pk]
    invoice = Invoice.objects.filter(period=period, kind=Invoice.Kind.INVOICE).first()
    return {
        "used": used,
        "usage_address": usage_address(period),
        "invoice": invoice,
        "amount": "" if invoice is None else cents(invoice.gross_cents),
    }


def usage_address(period: BillingPeriod) -> str:
    """Return the page that shows what was used in a period."""
    span = {"from": _instant(period.starts_at), "to": _instant(period.ends_at)}
    query = urlencode({"tenant": period.tenant.slug, **span})
    return f"{reverse('admin:usage')}?{query}"


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")
