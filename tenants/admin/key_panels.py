"""Gather what the page of a key shows above its form: its use, what bounds it, what it was refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.urls import NoReverseMatch, reverse
from django.utils.formats import number_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from gateway_project.lib import clock
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.admin.limit_words import limit_text
from tenants.console import drawing, request_words
from tenants.models import ApiKey, Budget, RateLimit
from tenants.reports import budgets, key_use, requests
from tenants.reports.logged_request import LoggedRequest
from tenants.reports.request_filter import RequestFilter

MOST_RECENT = 8


@dataclass(frozen=True, slots=True)
class BoundBudget:
    """A budget of the key, and how it stands."""

    budget: Budget
    bar: SafeString
    text: str


def panels(who: Access, key: ApiKey, zone: ZoneInfo) -> dict[str, Any]:
    """Return the template's variables, as far as the person may see them."""
    found: dict[str, Any] = {"zone": zone}
    if who.may("view", Area.USAGE, key.tenant_id):
        found["use"] = _use(key)
        found["recent"] = _recent(who, key, zone)
        found["requests_address"] = page_address("requests", f"?key={key.public_id}&period=30d")
    if who.may("view", Area.LIMITS, key.tenant_id):
        limits = RateLimit.objects.filter(api_key=key).order_by("metric", "window")
        found["limits"] = [(limit, limit_text(limit)) for limit in limits]
        found["budgets"] = _budgets(key)
        found["may_bound"] = who.may("add", Area.LIMITS, key.tenant_id)
    return found


def page_address(name: str, query: str = "", *args: object) -> str:
    """Return the address of a page of the console; blank if this installation has none of this name."""
    try:
        return f"{reverse(f'admin:{name}', args=args)}{query}"
    except NoReverseMatch:
        return ""


def _use(key: ApiKey) -> dict[str, Any]:
    days = key_use.days_of(key)
    titles = [
        f"{day.starts_at:%Y-%m-%d}: {requests_text(day.requests)}, {drawing.money(day.charge_nano)}"
        for day in days
    ]
    requests, failed = sum(day.requests for day in days), sum(day.failed for day in days)
    label = _("Requests a day in the last 30 days (UTC)")
    return {
        "spark": drawing.spark([day.requests for day in days], label, titles),
        "requests": requests_text(requests),
        "failed": failed,
        "charge": drawing.money(sum(day.charge_nano for day in days)),
    }


def _recent(who: Access, key: ApiKey, zone: ZoneInfo) -> list[dict[str, Any]]:
    """Return the last requests of the key as rows of a table, refused ones among them."""
    now = clock.now()
    asked = RequestFilter(
        now - key_use.DAYS * key_use.DAY,
        now + timedelta(minutes=1),  # clocks of several hosts differ
        tenants=frozenset({key.tenant_id}),
        key=key.public_id,
        key_id=key.pk,
    )
    return [_shown(row, zone) for row in requests.read_page(who, asked, limit=MOST_RECENT).rows]


def _shown(row: LoggedRequest, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "at": drawing.instant(row.at, zone),
        "address": page_address("request", "", row.id),
        "outcome": request_words.outcome(row.status),
        "told": row.message or row.code,
        "alias": row.alias,
        "charge": "—" if row.is_refused else drawing.money(row.charge_nano),
    }


def requests_text(number: int) -> str:
    text = ngettext("%(number)s request", "%(number)s requests", number)
    return text % {"number": number_format(number, 0, force_grouping=True)}


def _budgets(key: ApiKey) -> list[BoundBudget]:
    return [
        BoundBudget(row, drawing.budget_bar(state, row.thresholds), left_text(state))
        for row, state in budgets.of_rows(Budget.objects.filter(api_key=key))
    ]


def left_alone_text(of: budgets.BudgetState) -> str:
    """Say what is left, without the amount."""
    amounts = {"left": drawing.money(abs(of.left_nano))}
    return (_("exceeded by %(left)s") if of.left_nano < 0 else _("%(left)s left")) % amounts


def left_text(of: budgets.BudgetState) -> str:
    """Say what is left, or by how much a budget is exceeded."""
    amounts = {"amount": drawing.money(of.amount_nano), "left": drawing.money(abs(of.left_nano))}
    if of.left_nano < 0:
        return _("exceeded by %(left)s of %(amount)s") % amounts
    return _("%(left)s left of %(amount)s") % amounts
