"""The page of usage over time, and its CSV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import PermissionDenied, ValidationError
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway_project.lib import clock
from tenants.access.rights import Area
from tenants.console.pages import ConsolePage, console_page
from tenants.console.scope import Scope
from tenants.reports import charts, usage_csv, usage_series
from tenants.reports.freshness import freshness
from tenants.reports.usage_series import FILTERS, Group, SeriesQuestion, UsageSeries

MOST_ROWS = 50
PERIODS: tuple[tuple[str, str | Promise], ...] = (
    ("24h", gettext_lazy("24 hours")),
    ("7d", gettext_lazy("7 days")),
    ("30d", gettext_lazy("30 days")),
    ("90d", gettext_lazy("90 days")),
    ("month", gettext_lazy("This month")),
    ("last_month", gettext_lazy("Last month")),
)
BY: dict[str, str | Promise] = {
    "alias": gettext_lazy("Alias"),
    "key": gettext_lazy("Key"),
    "model": gettext_lazy("Model"),
    "provider": gettext_lazy("Provider"),
    "tenant": gettext_lazy("Tenant"),
    "end_user": gettext_lazy("End user"),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A link among others of which one is chosen."""

    label: str | Promise
    link: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter that holds, and the link that takes it away."""

    label: str | Promise
    value: str
    link: str


@dataclass(frozen=True, slots=True)
class UsageLine:
    """A group in the table below the charts."""

    label: str
    key: str | None
    link: str
    group: Group


def periods(scope: Scope) -> list[Choice]:
    """Return the spans of time to choose from."""
    return [
        Choice(label, scope.link(period=name), scope.span.period == name) for name, label in PERIODS
    ]


def question(scope: Scope, by: str, filters: dict[str, str]) -> SeriesQuestion:
    """Return what a page with this scope asks."""
    tenant = None if scope.tenant is None else scope.tenant.pk
    return SeriesQuestion(tenant, scope.start, scope.end, by, scope.zone.key, filters)


def requests_address(scope: Scope, **changes: object) -> str:
    """Return the address of the requests of this view; of the view itself where there is no page of them."""
    query = scope.link(by=None, **changes)
    try:
        return reverse("admin:requests") + query
    except NoReverseMatch:
        return query


def _why_not(scope: Scope) -> str:
    """Say why usage is not grouped as was asked, and what to do about it."""
    if scope.by == "end_user" and scope.tenant is None:
        return _("Usage by end user is of one tenant: choose it at the top.")
    return _("Usage cannot be grouped by “%(by)s” here.") % {"by": scope.by[:40]}


class UsageScope:
    """Hold what the page and its CSV show of a scope: a grouping and filters that the person may use."""

    def __init__(self, scope: Scope) -> None:
        tenant = None if scope.tenant is None else scope.tenant.pk
        self.groupings = usage_series.groupings(scope.who, tenant)
        self.by = scope.by if scope.by in self.groupings else self.groupings[0]
        self.problems = []
        if scope.by and scope.by != self.by:
            self.problems.append(_why_not(scope))
        may = {*self.groupings, *(["end_user"] if tenant is not None else [])}
        self.filters = {n: v for n, v in scope.filters.items() if n in FILTERS and n in may}
        self.unused = [name for name in scope.filters if name not in self.filters]


@console_page
class UsagePage(ConsolePage):
    """Charts of charge, tokens and requests over time, by a grouping, with a table of the groups."""

    path = name = "usage"
    title = gettext_lazy("Usage")
    template = "console/usage.html"
    area = Area.USAGE
    period = "30d"

    def context(self, request: HttpRequest, scope: Scope, **captured: Any) -> dict[str, Any]:
        shown = UsageScope(scope)
        known = freshness(clock.now())
        context = {
            "periods": periods(scope),
            "groupings": [
                Choice(BY[name], scope.link(by=name), name == shown.by) for name in shown.groupings
            ],
            "chips": [
                Chip(BY[name], value, scope.link(**{name: None}))
                for name, value in shown.filters.items()
            ],
            "kept": {name: value for name, value in scope.given.items() if name not in _OF_SPAN},
            "unused": ", ".join(shown.unused),
            "freshness": known,
            "notes": shown.problems,
            "csv": reverse("admin:usage_csv") + scope.link(),
        }
        try:
            asked = question(scope, shown.by, shown.filters)
            series = usage_series.usage_series(scope.who, asked, known)
        except ValidationError as error:
            return {**context, "notes": [*shown.problems, *error.messages]}
        is_of_users = usage_series.reads_end_user_sums(asked)
        sums_from = known.end_users_from if is_of_users else known.sums_from
        told = {"sums_from": sums_from, "is_all_in_csv": not is_of_users}
        return {**context, **told, **_shown(scope, series)}


_OF_SPAN = ("period", "from", "to")


def _shown(scope: Scope, series: UsageSeries) -> dict[str, Any]:
    """Return the charts and the table."""
    lines = [
        UsageLine(
            charts.label_of(group, series.by),
            group.key,
            requests_address(scope, **{series.by: group.chooses}),
            group,
        )
        for group in series.groups[:MOST_ROWS]
    ]
    return {
        "series": series,
        "charts": [charts.charge(series), charts.tokens(series), charts.requests(series)],
        "requests_base": _with_more(requests_address(scope, from_=None, to=None, period=None)),
        "by_label": BY[series.by],
        "lines": lines,
        "left_out": len(series.groups) - len(lines),
        "zone": ZoneInfo(series.buckets.zone),
        "start": series.buckets.start,
        "end": min(series.buckets.end, scope.end),
    }


def _with_more(address: str) -> str:
    """Return an address to which parameters can be appended."""
    return (
        f"{address}&" if "?" in address and not address.endswith("?") else f"{address.rstrip('?')}?"
    )


@console_page
class UsageCsv(ConsolePage):
    """Writes the same usage as a CSV file, a line per bucket and group, written while it is read."""

    path = "usage/csv"
    name = "usage_csv"
    title = gettext_lazy("Usage")
    template = ""
    area = Area.USAGE
    period = "30d"

    def respond(self, request: HttpRequest, scope: Scope, **captured: Any) -> HttpResponse:
        shown = UsageScope(scope)
        try:
            asked = question(scope, shown.by, shown.filters)
            pieces = usage_csv.pieces(scope.who, asked, freshness(clock.now()))
        except ValidationError as error:
            return HttpResponse(" ".join(error.messages), status=400, content_type="text/plain")
        except PermissionDenied:
            return HttpResponse(status=403)
        name = f"usage-{scope.tenant.slug if scope.tenant else 'all'}-{scope.start:%Y-%m-%d}.csv"
        body: Any = usage_csv.streamed(pieces) if isinstance(request, ASGIRequest) else pieces
        return StreamingHttpResponse(  # type: ignore[return-value]  # the stubs know no common base
            body,
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )
