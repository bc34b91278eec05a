"""The pages of the request log: the list, one request in whole, and how many are new."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from tenants import units
from tenants.access.access import Access
from tenants.access.requests import access
from tenants.access.rights import Area
from tenants.admin.request_bars import bars_of
from tenants.console import request_words as words
from tenants.console.pages import ConsolePage, console_page
from tenants.console.request_cures import cure_of
from tenants.console.request_panels import panels_of
from tenants.console.scope import FILTERS, Scope, offered_tenants
from tenants.console.snippets import base_url
from tenants.models import ApiKey, Tenant
from tenants.reports import request_volume, requests
from tenants.reports.logged_request import LoggedRequest
from tenants.reports.request_detail import ChargeLine, LoggedAttempt, RequestDetail, find_request
from tenants.reports.request_filter import RequestFilter
from tenants.reports.requests import LogPlace
from tenants.templatetags.figures import count

MOST_NEW = 20
POLL_SECONDS = 5
FILTER_LABELS = {
    "key": gettext_lazy("key"),
    "alias": gettext_lazy("alias"),
    "model": gettext_lazy("model"),
    "provider": gettext_lazy("provider"),
    "status": gettext_lazy("outcome"),
    "code": gettext_lazy("error"),
    "source": gettext_lazy("usage from"),
    "end_user": gettext_lazy("end user"),
    "guardrail": gettext_lazy("guardrails"),
    "cache": gettext_lazy("response cache"),
    "attempts": gettext_lazy("attempts"),
}


def filter_of(scope: Scope) -> RequestFilter:
    """Return the filter that the address asks for."""
    named: dict[str, Any] = dict(scope.filters)
    return RequestFilter(scope.start, scope.end, scope.tenant_ids(Area.USAGE), **named)


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row of the list, in words."""

    row: LoggedRequest
    address: str
    at: datetime
    key_name: str
    tenant_name: str
    outcome: words.OutcomeWord
    guardrail: words.OutcomeWord | None
    served_by: str
    first_token: str
    duration: str
    tokens_in: str
    cached: str
    tokens_out: str
    reasoning: str
    charge: str
    cache_word: words.Text


@dataclass(frozen=True, slots=True)
class RowNames:
    """RowNames of the keys and tenants on a page."""

    keys: dict[str, str]
    tenants: dict[int, str]


def names_of(rows: Iterable[LoggedRequest], scope: Scope, offered: Iterable[Tenant]) -> RowNames:
    """Look up what keys and tenants are called, but for those that are offered anyway; rows outlive both. One
    tenant's rows are not told apart."""
    keys = {row.key_public_id for row in rows if row.key_public_id}
    found = ApiKey.objects.filter(public_id__in=keys).order_by().values_list("public_id", "name")
    if scope.tenant is not None:
        return RowNames(dict(found), {})
    tenants = {row.tenant_id for row in rows if row.tenant_id is not None}
    known = {tenant.pk: tenant.name for tenant in offered}
    if others := tenants - known.keys():
        named = Tenant.objects.filter(pk__in=others).order_by().values_list("pk", "name")
        known.update(named)
    return RowNames(dict(found), known)


def shown_rows(
    rows: Collection[LoggedRequest], scope: Scope, offered: Iterable[Tenant]
) -> list[ShownRow]:
    names = names_of(rows, scope, offered)
    return [
        ShownRow(
            row=row,
            address=address_of(row, scope),
            at=row.at.astimezone(scope.zone),
            key_name=names.keys.get(row.key_public_id, ""),
            tenant_name=names.tenants.get(row.tenant_id or 0, ""),
            outcome=words.outcome(row.status),
            guardrail=words.guardrail(row.guardrail),
            served_by=f"{row.provider}/{row.upstream_model}" if row.provider else "",
            first_token=words.lasting(row.ttft_ms),
            duration=words.lasting(row.duration_ms),
            tokens_in=count(row.input_tokens),
            cached=count(row.cached_tokens) if row.cached_tokens else "",
            tokens_out=count(row.output_tokens),
            reasoning=count(row.reasoning_tokens) if row.reasoning_tokens else "",
            charge=words.dollars(row.charge_nano),
            cache_word=words.CACHE_OUTCOMES.get(row.cache_outcome, ""),
        )
        for row in rows
    ]


def address_of(row: LoggedRequest, scope: Scope) -> str:
    """Return the address of a request's page, on which the next one follows the filter."""
    place = urlencode({"place": LogPlace(row.at, row.number)})
    query = scope.link()
    return f"{reverse('admin:request', args=[row.id])}{query}{'&' if query != '?' else ''}{place}"


def place_of(request: HttpRequest, name: str) -> LogPlace | None:
    """Return the place in the address; None if there is none that can be read."""
    try:
        return LogPlace.parse(request.GET.get(name, ""))
    except ValueError:
        return None


@console_page
class RequestsPage(ConsolePage):
    """The log of requests, newest first."""

    path = "requests"
    name = "requests"
    title = gettext_lazy("Requests")
    template = "console/requests.html"
    area = Area.USAGE

    def context(self, request: HttpRequest, scope: Scope, **captured: Any) -> dict[str, Any]:
        who, asked = access(request), filter_of(scope)
        before, after = place_of(request, "before"), place_of(request, "after")
        page = requests.read_page(who, asked, before=before, after=after)
        volume = request_volume.volume(who, asked)
        is_newest = before is None and after is None and not scope.given.get("to")
        newest = requests.newest_place(page.rows, scope.end)
        return {
            "rows": shown_rows(page.rows, scope, offered_tenants(request)),
            "older": _paged(scope, before=page.older),
            "newer": _paged(scope, after=page.newer),
            "newest": scope.link(),
            "is_newest": before is None and after is None,
            "chips": chips_of(scope),
            "without_filters": scope.link(**dict.fromkeys(FILTERS)),
            "is_filtered": bool(scope.filters),
            "volume": volume,
            "bars": bars_of(volume, scope),
            "about": count(volume.total) if volume else "",
            "shows_tenant": scope.tenant is None,
            "statuses": words.OUTCOMES,
            "guardrail_outcomes": words.GUARDRAIL_OUTCOMES,
            "cache_outcomes": words.CACHE_OUTCOMES,
            "attempt_kinds": words.ATTEMPTS,
            "periods": periods_of(scope),
            "shows_upstreams": who.sees_upstreams_of(scope.tenant.pk if scope.tenant else None),
            "poll": _poll_address(scope, newest) if is_newest else "",
            "poll_seconds": POLL_SECONDS,
            "starts": scope.start.astimezone(scope.zone),
            "ends": scope.end.astimezone(scope.zone),
            "zone_name": str(scope.zone),
        }


@console_page
class NewRequestsPage(ConsolePage):
    """Tell the list's script how many requests came since it was read."""

    path = "requests/new"
    name = "requests_new"
    title = gettext_lazy("New requests")
    template = ""
    area = Area.USAGE

    def respond(self, request: HttpRequest, scope: Scope, **captured: Any) -> HttpResponse:
        after = place_of(request, "after")
        found = 0
        if after is not None:
            found = requests.count_newer(access(request), filter_of(scope), after, MOST_NEW)
        if found >= MOST_NEW:
            text = _("%(count)d or more new") % {"count": found}
        else:
            text = ngettext("%(count)d new", "%(count)d new", found) % {"count": found}
        return JsonResponse({"count": found, "text": text if found else ""})


@console_page
class RequestPage(ConsolePage):
    """One request in whole, answered or refused."""

    path = "requests/<str:request_id>"
    name = "request"
    title = gettext_lazy("Request")
    template = "console/request.html"
    area = Area.USAGE

    def respond(self, request: HttpRequest, scope: Scope, **captured: Any) -> HttpResponse:
        who = access(request)
        detail = find_request(who, str(captured["request_id"]))
        if detail is None:
            return self.rendered(
                request, scope, {"detail": None, "given": captured["request_id"][:60]}, status=404
            )
        return self.rendered(request, scope, _whole(request, who, scope, detail))


def _whole(
    request: HttpRequest, who: Access, scope: Scope, detail: RequestDetail
) -> dict[str, Any]:
    row = detail.summary
    keys = ApiKey.objects.filter(public_id=row.key_public_id).select_related("tenant")
    key = keys.first() if row.key_public_id else None
    tenant = _tenant_of(row, scope, key)
    zone = ZoneInfo(tenant.time_zone) if tenant is not None else scope.zone
    place = place_of(request, "place") or LogPlace(row.at, row.number)
    return {
        "detail": detail,
        "row": row,
        "outcome": words.outcome(row.status),
        "sentence": words.sentence(row),
        "cure": cure_of(who, detail, key, tenant, zone),
        "at": row.at.astimezone(zone),
        "zone_name": str(zone),
        "key": key,
        "tenant": tenant,
        "may_open_key": key is not None and who.may("view", Area.KEYS, key.tenant_id),
        "attempts": [_shown_attempt(each, detail) for each in detail.attempts],
        "corrections": [
            {
                "at": each.at.astimezone(zone),
                "charge": words.dollars(each.charge_nano),
                "cost": None if each.cost_nano is None else words.dollars(each.cost_nano),
                "told": each,
            }
            for each in detail.corrections
        ],
        "total": words.dollars(row.charge_nano),
        "cost": None if row.cost_nano is None else words.dollars(row.cost_nano),
        "margin": None if row.cost_nano is None else words.dollars(row.charge_nano - row.cost_nano),
        "panels": panels_of(who, detail, base_url(request)),
        "back": f"{reverse('admin:requests')}{scope.link()}",
        **_neighbours(who, scope, place),
    }


def _tenant_of(row: LoggedRequest, scope: Scope, key: ApiKey | None) -> Tenant | None:
    """Return the tenant of a request; None if it is nobody's, or the tenant is gone."""
    if row.tenant_id is None:
        return None
    if scope.tenant is not None and scope.tenant.pk == row.tenant_id:
        return scope.tenant
    if key is not None and key.tenant_id == row.tenant_id:
        return key.tenant
    return scope.who.known.get(row.tenant_id) or Tenant.objects.filter(pk=row.tenant_id).first()


def _neighbours(who: Access, scope: Scope, place: LogPlace) -> dict[str, str]:
    """Return the addresses of the requests before and after, among those that the filter finds."""
    asked = filter_of(scope)
    try:
        older = requests.read_page(who, asked, before=place, limit=1, in_whole=False).rows
        newer = requests.read_page(who, asked, after=place, limit=1, in_whole=False).rows
    except PermissionDenied:
        return {}
    return {
        "older": address_of(older[0], scope) if older else "",
        "newer": address_of(newer[0], scope) if newer else "",
    }


def _shown_attempt(each: LoggedAttempt, detail: RequestDetail) -> dict[str, Any]:
    is_less = each.rated_nano is not None and each.rated_nano != each.charge_nano
    is_less = is_less and not detail.summary.saved_nano  # of which a panel tells
    return {
        "told": each,
        "server": f"{each.provider}/{each.upstream_model}" if each.provider else "",
        "outcome": words.outcome(each.status),
        "cause": words.cause(each.code) if each.code else "",
        **_drawn(each, max(detail.span_ms, 1)),
        "offset": words.lasting(each.offset_ms),
        "duration": words.lasting(each.duration_ms),
        "first_token": words.lasting(each.ttft_ms),
        "overhead": _overhead(each.overhead_us),
        "lines": [_shown_line(line) for line in each.lines],
        "charge": words.dollars(each.charge_nano),
        "rated": words.dollars(each.rated_nano) if is_less and each.rated_nano else "",
        "held": None if each.held_nano is None else words.dollars(each.held_nano),
        "unfunded": words.dollars(each.unfunded_nano) if each.unfunded_nano else "",
        "cost": None if each.cost_nano is None else words.dollars(each.cost_nano),
    }


def _drawn(each: LoggedAttempt, span_ms: int) -> dict[str, int | None]:
    """Return where an attempt and its first token lie, on a thousand steps of the whole request."""
    left = round(1_000 * each.offset_ms / span_ms)
    width = max(round(1_000 * each.duration_ms / span_ms), 4)
    first = None
    if each.ttft_ms is not None:
        first = round(1_000 * (each.offset_ms + min(each.ttft_ms, each.duration_ms)) / span_ms)
    return {"left": left, "width": width, "first": first}


def _shown_line(line: ChargeLine) -> dict[str, str]:
    unit = units.of(line.unit)
    price = ""
    if line.pico is not None:
        price = words.per_million(line.pico) if unit.is_token else _per(line.pico, unit)
    return {
        "label": _(unit.counted) if unit.is_token else unit.label,
        "quantity": number_format(
            Decimal(line.quantity).scaleb(-unit.decimals), unit.decimals, force_grouping=True
        ),
        "price": price,
        "per": _("million tokens") if unit.is_token else unit.per,
        "charge": words.dollars(line.charge_nano),
    }


def _per(pico: int, unit: units.Unit) -> str:
    return words.dollars(pico * unit.priced_per // 1_000)


def _overhead(microseconds: int) -> str:
    if not microseconds:
        return ""
    return _("%(n)s ms") % {"n": number_format(microseconds / 1_000, 1)}


def _paged(scope: Scope, **place: LogPlace | None) -> str:
    """Return the address of the page that begins at a place; blank without one."""
    ((name, at),) = place.items()
    return "" if at is None else scope.link(**{name: at})


def _poll_address(scope: Scope, newest: LogPlace) -> str:
    return f"{reverse('admin:requests_new')}{scope.link(after=newest)}"


def chips_of(scope: Scope) -> list[dict[str, str]]:
    return [
        {
            "label": str(FILTER_LABELS[name]),
            "value": _filter_word(name, value),
            "remove": scope.link(**{name: None}),
        }
        for name, value in scope.filters.items()
    ]


def _filter_word(name: str, value: str) -> str:
    """Return the value of a filter as people read it."""
    if name == "status":
        return str(words.outcome(value).label)
    if name == "guardrail" and (told := words.GUARDRAIL_OUTCOMES.get(value)) is not None:
        return str(told.label)
    named = {"cache": words.CACHE_OUTCOMES, "attempts": words.ATTEMPTS}.get(name, {})
    return str(named.get(value, value))


def periods_of(scope: Scope) -> list[dict[str, Any]]:
    labels = {
        "1h": _("1 hour"),
        "24h": _("24 hours"),
        "7d": _("7 days"),
        "30d": _("30 days"),
        "90d": _("90 days"),
    }
    return [
        {"label": label, "address": scope.link(period=name), "is_open": scope.span.period == name}
        for name, label in labels.items()
    ]
