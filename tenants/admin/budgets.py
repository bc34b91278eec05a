"""The page of budgets: what tenants and keys may spend, and what is used, reserved and left of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timeuntil
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway_project.lib import clock
from tenants import local_time
from tenants.access.rights import Area, Right
from tenants.admin.bounds import BoundAdmin, whose
from tenants.admin.budget_forms import BudgetForm
from tenants.admin.key_panels import left_alone_text, left_text
from tenants.admin.limit_words import PERIODS
from tenants.admin.refused import refusals_link
from tenants.budgets import dollars
from tenants.console import drawing
from tenants.console.scoped_admin import TenantInline, TenantRelatedFilter, access
from tenants.managed.tables import BUDGETS
from tenants.models import Budget, BudgetWindow
from tenants.reports import budgets, refused


class WindowInline(TenantInline):
    """Past and present periods; only the ledger writes them."""

    model = BudgetWindow
    area = Area.LIMITS
    hide_title = True
    fields = ("named", "begins", "ends", "spent", "held", "alerts_shown")
    readonly_fields = ("named", "begins", "ends", "spent", "held", "alerts_shown")
    verbose_name_plural = gettext_lazy("Periods, in the tenant's time zone")
    can_delete = False
    max_num = 0

    def may(self, right: Right, request: HttpRequest, row: Model | None) -> bool:
        return right == "view" and super().may(right, request, row)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).select_related("budget__tenant")
        return rows.prefetch_related("alerts")

    @admin.display(description=gettext_lazy("Period"))
    def named(self, of: BudgetWindow) -> str:
        return of.period_name

    @admin.display(description=gettext_lazy("Begins"))
    def begins(self, of: BudgetWindow) -> str:
        if of.ends_at is None:  # of a total, which counts from 1970 on
            return _("with the first call")
        return local_time.minute(of.starts_at, of.budget.tenant.time_zone)

    @admin.display(description=gettext_lazy("Ends"))
    def ends(self, of: BudgetWindow) -> str:
        if of.ends_at is None:
            return _("never")
        return local_time.minute(of.ends_at, of.budget.tenant.time_zone)

    @admin.display(description=gettext_lazy("Used ($)"))
    def spent(self, of: BudgetWindow) -> str:
        return dollars.to_text(of.spent_nano)

    @admin.display(description=gettext_lazy("Reserved ($)"))
    def held(self, of: BudgetWindow) -> str:
        return dollars.to_text(of.reserved_nano)

    @admin.display(description=gettext_lazy("Thresholds reached"))
    def alerts_shown(self, of: BudgetWindow) -> str:
        return ", ".join(f"{alert.percent} %" for alert in of.alerts.all()) or _("none")


@admin.register(Budget)
class BudgetAdmin(BoundAdmin):
    when_empty = gettext_lazy(
        "A budget stops calls, or warns, once a tenant or a key has spent an amount in a period."
    )
    resource = BUDGETS
    form = BudgetForm
    list_display = (*("shown", "amount", "bar", "resets", "runs_out", "refusals", "tenant"),)
    list_filter = ("period", "mode", "enabled", ("tenant", TenantRelatedFilter))
    search_fields = ("name", "tenant__name", "api_key__name", "api_key__public_id")
    fields = (
        "tenant",
        "api_key",
        "name",
        "amount_nano",
        "period",
        "mode",
        "counts_list_price",
        "thresholds",
        "alert_emails",
        "enabled",
        "created_at",
    )
    readonly_fields = ("created_at",)
    inlines = (WindowInline,)

    def describe(self, request: HttpRequest, rows: Sequence[Any]) -> None:
        found = budgets.standings(rows, with_reached=False)
        counted = refused.of_budgets(
            access(request), [(row, found[row.pk].starts_at) for row in rows]
        )
        for row in rows:
            row.standing, row.refused = found[row.pk], counted.get(row.pk)

    @admin.display(description=gettext_lazy("Budget"), ordering="name")
    def shown(self, budget: Budget) -> SafeString | str:
        badge: SafeString | str = ""
        if not budget.enabled:
            badge = _badge("idle", _("switched off"))
        elif budget.mode == Budget.Mode.WARN:
            badge = _badge("warn", _("only warns"))
        return format_html(
            "{} {}<span class='tg-below'>{}</span>", budget.name, badge, whose(budget)
        )

    @admin.display(description=gettext_lazy("Amount"), ordering="amount_nano")
    def amount(self, budget: Budget) -> str:
        return f"{drawing.money(budget.amount_nano)} {PERIODS[budget.period]}"

    @admin.display(description=gettext_lazy("Used, reserved, left"))
    def bar(self, budget: Any) -> SafeString:
        of = budget.standing
        bar, text = drawing.budget_bar(of, budget.thresholds), left_alone_text(of)
        return format_html("{}<span class='tg-grey'>{}</span>", bar, text)

    @admin.display(description=gettext_lazy("Resets in"))
    def resets(self, budget: Any) -> SafeString | str:
        return resets_text(budget.standing, budget)

    @admin.display(description=gettext_lazy("Used up"))
    def runs_out(self, budget: Any) -> SafeString | str:
        return runs_out_text(budget.standing, budget)

    @admin.display(description=gettext_lazy("Refused in the period"))
    def refusals(self, budget: Any) -> SafeString | str:
        since = budget.standing.starts_at or budget.created_at
        zone = ZoneInfo(budget.tenant.time_zone)
        period = f"from={drawing.day(since, zone)}"
        return refusals_link(budget, budget.refused, "insufficient_quota", period)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *rest: Any, **options: Any
    ) -> HttpResponse:
        budget = options.get("obj")
        if budget is not None:
            of = budgets.standing(budget)
            told = {
                "standing": of,
                "zone": budget.tenant.time_zone,
                "bar": standing_bar(of, budget),
                "resets": resets_text(of, budget),
                "runs_out": runs_out_text(of, budget),
            }
            context = {**context, **told}
        return super().render_change_form(request, context, *rest, **options)


def standing_bar(of: budgets.BudgetState, budget: Budget) -> SafeString:
    """Draw the bar with what it means in words below."""
    return format_html(
        "{}<span class='tg-grey'>{}</span>",
        drawing.budget_bar(of, budget.thresholds),
        left_text(of),
    )


def resets_text(of: budgets.BudgetState, budget: Budget) -> SafeString | str:
    if of.ends_at is None:
        return _("never")
    zone = budget.tenant.time_zone
    at = f"{drawing.instant(of.ends_at, ZoneInfo(zone))} {zone}"
    return format_html("<span title='{}'>{}</span>", at, timeuntil(of.ends_at, clock.now()))


def runs_out_text(of: budgets.BudgetState, budget: Budget) -> SafeString | str:
    """Say on which day the budget is used up at the pace of the last days, beside those days."""
    zone = ZoneInfo(budget.tenant.time_zone)
    if of.left_nano <= 0:
        said = _("used up")
    elif of.runs_out_at is not None:
        said = _("about %(day)s") % {"day": drawing.day(of.runs_out_at, zone)}
    elif of.ends_at is not None:
        said = _("not in this period")
    else:
        said = _("not within a year")
    if not any(of.daily_nano):
        return said
    label = _("Charged a day in the last 7 days (UTC)")
    titles = [drawing.money(each) for each in of.daily_nano]
    drawn = drawing.spark(of.daily_nano, label, titles)
    return format_html("{} <span class='tg-nowrap'>{}</span>", drawn, said)


def _badge(kind: str, word: str) -> SafeString:
    return format_html("<span class='tg-badge tg-badge--{}'>{}</span>", kind, word)
