"""Read what a console page is asked to show from its address: whose rows, of which time, filtered how.

Every page understands the same parameters and passes them on in its links, so an address can be sent to a
colleague. Nothing of it is kept in a session.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import unquote, urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.http import Http404, HttpRequest, QueryDict
from django.utils.translation import gettext as _

from gateway_project.lib import clock
from gateway_project.lib.prepared import PreparedQuery
from tenants.access.access import Access
from tenants.access.requests import access
from tenants.access.rights import Area, Right
from tenants.models import Tenant

FILTERS = (
    "key", "alias", "model", "provider", "status", "code", "source", "end_user", "guardrail", "cache",
    "attempts",
)  # fmt: skip
PARAMETERS = ("tenant", "period", "from", "to", *FILTERS, "by")
# Whole days of the zone, today among them; `1h` and `24h` end now.
_DAYS = {"7d": 7, "30d": 30, "90d": 90}
_HOURS = {"1h": 1, "24h": 24}
PERIODS = (*_HOURS, *_DAYS, "month", "last_month")
MAX_VALUE = 300
# More tenants than this are typed in rather than chosen from a list.
MOST_OFFERED = 50
# The browser's own zone, which console/frame.js tells the server.
ZONE_COOKIE = "tollgate_zone"
# What the menu carries from page to page: not filters, which are a page's own.
CARRIED = ("tenant", "period", "from", "to")
_MAX_DAYS = 400
_FIRST_TENANTS = PreparedQuery(lambda: Tenant.objects.order_by("slug")[: MOST_OFFERED + 1])
_YEARS = range(2000, 2201)  # of UTC: what every database and time zone can count with


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time: from `start` until `end`, and the period it is, or blank where dates were given."""

    period: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Scope:
    """Holds what a page is asked to show, and for whom.

    tenant    the one tenant looked at; None: all that the person sees
    zone      the tenant's time zone, or the person's own over all tenants
    filters   values of FILTERS, those that were given only
    by        the grouping that was asked for; blank: the page's own
    problems  a sentence for each value of the address that could not be used
    given     the parameters as they stand in the address, usable ones only
    """

    who: Access
    tenant: Tenant | None
    zone: ZoneInfo
    span: Span
    filters: Mapping[str, str]
    by: str
    problems: tuple[str, ...]
    given: Mapping[str, str]

    @property
    def start(self) -> datetime:
        return self.span.start

    @property
    def end(self) -> datetime:
        return self.span.end

    def may(self, right: Right, area: Area) -> bool:
        """Tell whether the person may do this in the tenant looked at, or in any where that is all."""
        if self.tenant is None:
            return self.who.may_somewhere(right, area)
        return self.who.may(right, area, self.tenant.pk)

    def tenant_ids(self, area: Area) -> frozenset[int] | None:
        """Return the tenants whose rows of this area are shown; None: every tenant's."""
        if self.tenant is not None:
            is_seen = self.who.may("view", area, self.tenant.pk)
            return frozenset({self.tenant.pk} if is_seen else ())
        if (area, "view") in self.who.platform:
            return None
        return self.who.tenants_where("view", area)

    def link(self, **changes: object) -> str:
        """Return the query of this view with changes, `?` included; None and blank take a parameter away.

        `from` and `to` are written `from_` and `to` here. A new period takes given dates away, and dates
        the period.
        """
        changed = {name.rstrip("_"): value for name, value in changes.items()}
        kept = dict(self.given)
        if "period" in changed:
            kept.pop("from", None)
            kept.pop("to", None)
        if "from" in changed or "to" in changed:
            kept.pop("period", None)
        merged = {**kept, **changed}
        left = {name: str(value) for name, value in merged.items() if value not in (None, "")}
        return f"?{urlencode(left)}"


def read_scope(request: HttpRequest, period: str = "24h") -> Scope:
    """Return the scope of a request; `period` is the page's own where none is given.

    Raise Http404 for a tenant that the person may not see, as for one that there is not.
    """
    who, asked = access(request), request.GET
    problems: list[str] = []
    values = {name: _value(asked, name, problems) for name in PARAMETERS}
    tenant, zone = asked_tenant(request), zone_of(request)
    span = _span(values, zone, period, problems)
    given = {name: value for name, value in values.items() if value}
    return Scope(
        who=who,
        tenant=tenant,
        zone=zone,
        span=span,
        filters={name: values[name] for name in FILTERS if values[name]},
        by=values["by"],
        problems=tuple(problems),
        given=given,
    )


def asked_tenant(request: HttpRequest) -> Tenant | None:
    """Return the tenant that is looked at; None for all that the person sees. Read once a request.

    It narrows what is shown, and gives no right. Raise Http404 for one that the person may not see.
    """
    read: tuple[Tenant | None] | None = getattr(request, "asked_tenant", None)
    if read is None:
        read = (_find_tenant(request),)
        request.asked_tenant = read  # type: ignore[attr-defined]  # our own mark on it
    return read[0]


def offered_tenants(request: HttpRequest) -> list[Tenant]:
    """Return the tenants that one may choose from, by slug: the person's own; or the first of all, one more
    than MOST_OFFERED, and the one that the address names. Read once a request.
    """
    read: list[Tenant] | None = getattr(request, "offered_tenants", None)
    if read is None:
        who = access(request)
        own = [who.known[pk] for pk in who.tenants]
        read = sorted(own, key=lambda each: each.slug)
        if who.sees_all_tenants:
            read = _FIRST_TENANTS.rows()
            named = _value(request.GET, "tenant", [])
            if named and len(read) > MOST_OFFERED and all(each.slug != named for each in read):
                read += Tenant.objects.filter(slug=named)
        request.offered_tenants = read  # type: ignore[attr-defined]  # our own mark on it
    return read


def zone_of(request: HttpRequest) -> ZoneInfo:
    """Return the zone in which times are shown: the tenant's, or the person's own over all tenants."""
    tenant = asked_tenant(request)
    if tenant is not None:
        return ZoneInfo(tenant.time_zone)
    name = unquote(request.COOKIES.get(ZONE_COOKIE, ""))
    try:
        return ZoneInfo(name) if 0 < len(name) < MAX_VALUE else ZoneInfo("UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def carried(request: HttpRequest) -> str:
    """Return the query that every link of the frame has: whose rows, and of which time; blank for none."""
    given = {name: _value(request.GET, name, []) for name in CARRIED}
    kept = {name: value for name, value in given.items() if value}
    return f"?{urlencode(kept)}" if kept else ""


def _value(asked: QueryDict, name: str, problems: list[str]) -> str:
    value = asked.get(name, "").strip()
    if "\0" in value or len(value) > MAX_VALUE:
        problems.append(_("“%(name)s” was left out: it cannot be read.") % {"name": name})
        return ""
    return value


def _find_tenant(request: HttpRequest) -> Tenant | None:
    who, slug = access(request), _value(request.GET, "tenant", [])
    if not slug:
        only = next(iter(who.tenants)) if len(who.tenants) == 1 else None
        return None if who.sees_all_tenants or only is None else who.known[only]
    found = next((each for each in offered_tenants(request) if each.slug == slug), None)
    if found is None:
        raise Http404
    return found


def _span(values: dict[str, str], zone: ZoneInfo, usual: str, problems: list[str]) -> Span:
    """Return the span asked for; takes what cannot be used out of `values`."""
    now = clock.now()
    if values["from"] or values["to"]:
        found = _between(values, zone, now, problems)
        if found is not None:
            return found
        values["from"] = values["to"] = ""
    period = values["period"]
    if period and period not in PERIODS:
        known = ", ".join(PERIODS)
        text = _("There is no period “%(given)s”; use one of %(known)s.")
        problems.append(text % {"given": period[:40], "known": known})
        period = values["period"] = ""
    return _of_period(period or usual, zone, now)


def _of_period(period: str, zone: ZoneInfo, now: datetime) -> Span:
    if period in _HOURS:
        return Span(period, now - timedelta(hours=_HOURS[period]), now)
    today = now.astimezone(zone).date()
    if period in _DAYS:
        return Span(period, _midnight(today - timedelta(days=_DAYS[period] - 1), zone), now)
    first = today.replace(day=1)
    if period == "month":
        return Span(period, _midnight(first, zone), now)
    before = (first - timedelta(days=1)).replace(day=1)
    return Span(period, _midnight(before, zone), _midnight(first, zone))


def _between(
    values: dict[str, str], zone: ZoneInfo, now: datetime, problems: list[str]
) -> Span | None:
    """Return the span between two dates or instants; None, and a problem, where there is none."""
    try:
        end = instant_of(values["to"], zone, is_end=True) if values["to"] else now
        start = instant_of(values["from"], zone) if values["from"] else end - timedelta(days=1)
    except (ValueError, OverflowError):
        problems.append(_("“from” and “to” are dates such as 2026-11-28, or 2026-11-28T14:30."))
        return None
    if start >= end:
        problems.append(_("“from” must be before “to”."))
        return None
    if end - start > timedelta(days=_MAX_DAYS):
        problems.append(_("Ask for at most %(days)s days at once.") % {"days": _MAX_DAYS})
        return None
    return Span("", start, end)


def instant_of(text: str, zone: ZoneInfo, *, is_end: bool = False) -> datetime:
    """Read a date, which as an end means its last moment, or an instant; those without a zone are of
    the scope's."""
    if len(text) == len("2026-11-28"):
        day = date.fromisoformat(text)
        at = _midnight(day + timedelta(days=1) if is_end else day, zone)
    else:
        read = datetime.fromisoformat(text)
        at = (read if read.tzinfo is not None else read.replace(tzinfo=zone)).astimezone(UTC)
    if at.year not in _YEARS:
        raise ValueError(text)
    return at


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
