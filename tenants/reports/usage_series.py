"""Show what was used over time, in groups: the data of the usage page and of its route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce
from operator import add
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import PermissionDenied, ValidationError
from django.utils.translation import gettext as _

from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.managed.resource import resource_of
from tenants.models import ApiKey, EndUserDay, Tenant, UsageRow
from tenants.reports import buckets, sums_query
from tenants.reports.buckets import TimeBuckets
from tenants.reports.figures import NOTHING, Used
from tenants.reports.freshness import Freshness
from tenants.reports.sums_query import COLUMNS, SumQuery

GROUPINGS = ("alias", "key", "model", "provider", "tenant", "end_user")
FILTERS = ("key", "alias", "model", "provider", "end_user")
MAX_DAYS = 400
FIRST_YEAR, LAST_YEAR = 2000, 2200  # what every database and time zone can count with
# End users of other groups, or with other filters, are known to the ledger's rows alone, which are many: of
# one tenant, for so many days. By end user alone there are sums, which tell only those apart who used most;
# what is asked of less time than this is read from rows nevertheless, which have every call at once.
MAX_DAYS_OF_ROWS = 31
LEAST_OF_SUMS = timedelta(days=2, hours=2)
LONGEST_OF_ALL = 31
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class SeriesQuestion:
    """A question: what was used from `start` until `end`, by one tenant or (None) by all that whoever asks
    may see, in groups `by` one of GROUPINGS, of what matches the filters."""

    tenant_id: int | None
    start: datetime
    end: datetime
    by: str = "alias"
    zone: str = "UTC"
    filters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """A group of a report: what it is called, its value, and what it used. `key` is None for all others
    together; `chooses` is the value in an address of the console, where a tenant is its slug."""

    key: str | None
    label: str
    used: Used
    chooses: str = ""


@dataclass(frozen=True, slots=True)
class UsageSeries:
    """Hold what was used: all together, by group (the largest first), and by bucket of the largest groups.

    `series` has a list of a bucket each for every one of the largest groups, and last one of all others,
    if there are any. `rest` is what those end users used who are not told apart, if there are any.
    """

    buckets: TimeBuckets
    by: str
    total: Used
    groups: list[Group]
    series: list[tuple[Group, list[Used]]]
    has_more: bool
    rest: Used | None = None


def usage_series(who: Access, asked: SeriesQuestion, known: Freshness) -> UsageSeries:
    """Answer the question. Raise ValidationError for what cannot be asked, or PermissionDenied."""
    query, divided = series_query(who, asked, known)
    found = sums_query.add_up(query)
    return series_of(asked.by, divided, found, with_cost=shows_cost(who, asked.tenant_id))


def series_query(
    who: Access, asked: SeriesQuestion, known: Freshness, *, is_whole: bool = False
) -> tuple[SumQuery, TimeBuckets]:
    """Return what is to be added up, and the buckets. `is_whole`: all end users are to be told apart, as far
    as rows may be asked. Raise as `usage_series` does."""
    tenants = visible_tenants(who, asked.tenant_id)
    check(who, asked)
    divided = buckets.divide(asked.start, asked.end, _zone(asked))
    sums_end_users = reads_end_user_sums(asked)
    if not sums_end_users and _has_end_user_sums(asked, known):
        has_everybody = _are_told_apart(asked, divided)
        sums_end_users = has_everybody or not is_whole
        if sums_end_users and not has_everybody:
            divided = buckets.divide(asked.start, asked.end, "UTC")
    filters = {name: asked.filters[name] for name in FILTERS if name in asked.filters}
    query = SumQuery(
        divided.spans,
        tenants,
        asked.by,
        filters,
        kept_from=known.kept_from,
        sums_end_users=sums_end_users,
    )
    return query, divided


def reads_end_user_sums(asked: SeriesQuestion) -> bool:
    """Tell whether this is more than may be asked of rows, so that only the sums by end user know it."""
    is_long = asked.end - asked.start > timedelta(days=MAX_DAYS_OF_ROWS)
    return is_long and {asked.by, *asked.filters} == {"end_user"}


def _has_end_user_sums(asked: SeriesQuestion, known: Freshness) -> bool:
    """Tell whether sums can stand for the rows."""
    is_known = known.end_users_from is None or known.end_users_from <= asked.start
    is_short = asked.end - asked.start <= LEAST_OF_SUMS
    return is_known and not is_short and {asked.by, *asked.filters} == {"end_user"}


def _are_told_apart(asked: SeriesQuestion, divided: TimeBuckets) -> bool:
    """Tell whether the sums of these days have everybody, so that they are what rows add up to, and hours may
    be taken away from days. A day has a sum of the others if one of its hours has."""
    days = EndUserDay.objects.filter(
        tenant=asked.tenant_id,
        starts_at__gte=divided.start - buckets.DAY,
        starts_at__lt=divided.end + buckets.DAY,
    )
    return not days.filter(end_user=None).exists()


def _zone(asked: SeriesQuestion) -> str:
    """Return the zone of the buckets. Of all tenants together long spans are read by day of UTC where the
    zone's own would be too much: by key, and where its midnights cut hours. So are sums by end user: of a
    day and of an hour others may be told apart."""
    if reads_end_user_sums(asked):
        return "UTC"
    is_long = asked.end - asked.start > timedelta(days=LONGEST_OF_ALL)
    if asked.tenant_id is not None or not is_long:
        return asked.zone
    offset = asked.start.astimezone(ZoneInfo(asked.zone)).utcoffset() or timedelta()
    is_of_keys = "key" in {asked.by, *asked.filters}
    return "UTC" if is_of_keys or offset % HOUR else asked.zone


def series_of(
    by: str, divided: TimeBuckets, found: sums_query.Added, *, with_cost: bool
) -> UsageSeries:
    used = {
        place: Used.of(figures, with_cost=with_cost) for place, figures in found.buckets.items()
    }
    named = labels(by, [group for group, _ in found.groups])
    groups = []
    for group, figures in found.groups:
        label, chooses = named.get(group, (str(group), str(group)))
        used_by = Used.of(figures, with_cost=with_cost)
        groups.append(Group(str(group), label, used_by, chooses))
    nothing = NOTHING if with_cost else Used(cost_nano=None)

    def line(key: Any) -> list[Used]:
        return [used.get((bucket, key), nothing) for bucket in range(len(divided))]

    values = [group for group, _ in found.groups]
    largest = list(zip(groups, values, strict=True))[: sums_query.LARGEST]
    series = [(group, line(value)) for group, value in largest]
    if len(groups) > len(largest) or found.rest is not None:
        others = line(None)
        series.append((Group(None, "", reduce(add, others)), others))
    total = reduce(add, used.values(), nothing)
    rest = None if found.rest is None else Used.of(found.rest, with_cost=with_cost)
    has_more = len(groups) >= sums_query.MAX_GROUPS
    return UsageSeries(divided, by, total, groups, series, has_more, rest)


def visible_tenants(who: Access, tenant_id: int | None) -> frozenset[int] | None:
    """Return the tenants a report is of; None stands for all there are. Raise PermissionDenied."""
    if tenant_id is not None:
        if not who.may("view", Area.USAGE, tenant_id):
            raise PermissionDenied
        return frozenset({tenant_id})
    if who.may("view", Area.USAGE, None):
        return None
    found = who.tenants_where("view", Area.USAGE)
    if not found:
        raise PermissionDenied
    return found


def hidden_columns(who: Access, tenant_id: int | None) -> frozenset[str]:
    """Return the columns of usage that are not shown to them, of this tenant or (None) of all they see."""
    subject = UsageRow() if tenant_id is None else UsageRow(tenant_id=tenant_id)
    return resource_of(UsageRow).hidden(who, subject)


def shows_cost(who: Access, tenant_id: int | None) -> bool:
    return "cost_nano" not in hidden_columns(who, tenant_id)


def groupings(who: Access, tenant_id: int | None) -> tuple[str, ...]:
    """Return by what they may group."""
    hidden = hidden_columns(who, tenant_id)
    shown = [name for name in GROUPINGS if COLUMNS[name] not in hidden]
    if tenant_id is not None:
        shown.remove("tenant")
    else:
        shown.remove("end_user")
    return tuple(shown)


def check(who: Access, asked: SeriesQuestion) -> None:
    """Raise ValidationError for what cannot be asked, or PermissionDenied for what is not shown."""
    hidden = hidden_columns(who, asked.tenant_id)
    if any(COLUMNS[name] in hidden for name in (asked.by, *asked.filters) if name in COLUMNS):
        raise PermissionDenied
    if asked.start >= asked.end:
        raise ValidationError({"start": _("It must be before 'end'.")})
    if not (asked.start.year >= FIRST_YEAR and asked.end.year <= LAST_YEAR):
        text = _("Ask for years from %(first)s to %(last)s.")
        raise ValidationError({"start": text % {"first": FIRST_YEAR, "last": LAST_YEAR}})
    days = MAX_DAYS
    if "end_user" in {asked.by, *asked.filters}:
        days = MAX_DAYS if reads_end_user_sums(asked) else MAX_DAYS_OF_ROWS
        if asked.tenant_id is None:
            raise ValidationError({"tenant": _("Choose a tenant to ask about end users.")})
    if asked.end - asked.start > timedelta(days=days):
        text = _("Ask for at most %(days)s days of this.")
        if days == MAX_DAYS_OF_ROWS:
            text = _(
                "Ask for at most %(days)s days of this; for more, group by end user with no other filter."
            )
        raise ValidationError({"start": text % {"days": days}})


def labels(by: str, values: list[Any]) -> dict[Any, tuple[str, str]]:
    """Return what keys and tenants are called and chosen by; other groups are called what they are."""
    if by == "key":
        rows = ApiKey.objects.filter(public_id__in=values).order_by()
        return {key: (name, key) for key, name in rows.values_list("public_id", "name")}
    if by == "tenant":
        tenants = Tenant.objects.filter(pk__in=values).order_by()
        return {pk: (name, slug) for pk, name, slug in tenants.values_list("pk", "name", "slug")}
    return {}
