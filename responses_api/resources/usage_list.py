"""Build the list that GET /usage answers with: a tenant's totals over a span of time, in groups."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast, get_args

from django.http import QueryDict

from gateway_project.lib import clock
from gateway_project.lib.errors import BadRequest
from responses_api.storage.query import Paging, paging, unknown_cursor
from tenants.billing import sums
from tenants.billing.instants import month_of, parsed_instant
from tenants.billing.sum_sql import COUNTS
from tenants.billing.sums import Total
from tenants.models import Tenant
from tenants.token_classes import TOKEN_CLASSES

GROUPINGS = ("key", "alias", "model", "day", "hour")
# The operator's own cost is not shown to tenants.
SHOWN = (*COUNTS, *TOKEN_CLASSES, "charge_nano", "saved_nano")
MAX_SPAN = {"hour": timedelta(days=31)}
MAX_DAYS = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Question:
    """A span of time from `start` until before `end`, and how to group it."""

    start: datetime
    end: datetime
    group_by: sums.Grouping
    paging: Paging


def listing(tenant_id: int, query: QueryDict) -> dict[str, Any]:
    """Return the list for this query. Raise BadRequest naming the parameter."""
    question = _question(tenant_id, query)
    totals = sums.totals(tenant_id, question.start, question.end, question.group_by)
    if not question.paging.ascending:
        totals.reverse()
    rest = _after(totals, question.paging.after)
    shown = rest[: question.paging.limit]
    return {
        "object": "list",
        "start": int(question.start.timestamp()),
        "end": int(question.end.timestamp()),
        "group_by": question.group_by,
        "data": [_entry(total, question.group_by) for total in shown],
        "first_id": _id(shown[0]) if shown else None,
        "last_id": _id(shown[-1]) if shown else None,
        "has_more": len(rest) > len(shown),
    }


def _question(tenant_id: int, query: QueryDict) -> Question:
    group_by = query.get("group_by", "alias")
    if group_by not in GROUPINGS:
        known = ", ".join(GROUPINGS)
        raise BadRequest(
            f"Invalid value for 'group_by': {group_by[:100]!r}; use one of {known}.",
            param="group_by",
        )
    now = clock.now()
    tenant = Tenant.objects.only("time_zone", "shows_upstreams").get(pk=tenant_id)
    zone = tenant.time_zone
    if group_by == "model" and not tenant.shows_upstreams:
        raise BadRequest(
            "Invalid value for 'group_by': which models answered is not shown to your organization; use "
            "'alias'.",
            param="group_by",
        )
    end = _instant(query, "end", zone) or now
    start = _instant(query, "start", zone) or month_of(min(end, now), zone)[0]
    if start >= end:
        raise BadRequest("Invalid value for 'start': it must be before 'end'.", param="start")
    longest = MAX_SPAN.get(group_by, MAX_DAYS)
    if end - start > longest:
        raise BadRequest(
            f"Invalid value for 'start': by {group_by}, at most {longest.days} days can be asked for.",
            param="start",
        )
    assert group_by in get_args(sums.Grouping)
    return Question(start, end, cast("sums.Grouping", group_by), paging(query, "asc"))


def _instant(query: QueryDict, name: str, zone: str) -> datetime | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        return parsed_instant(text, zone)
    except ValueError as error:
        raise BadRequest(f"Invalid value for {name!r}: {error}", param=name) from error


def _after(totals: list[Total], cursor: str) -> list[Total]:
    if not cursor:
        return totals
    places = [place for place, total in enumerate(totals) if _id(total) == cursor]
    if not places:
        raise unknown_cursor()
    return totals[places[0] + 1 :]


def _id(total: Total) -> str:
    if isinstance(total.group, datetime):
        return str(int(total.group.timestamp()))
    return str(total.group)


def _entry(total: Total, group_by: str) -> dict[str, Any]:
    group: Any = total.group
    if isinstance(group, datetime):
        group = int(group.timestamp())
    figures = {name: total[name] for name in SHOWN}
    entry = {"object": "usage.total", "id": _id(total), group_by: group, **figures}
    return {**entry, "units": dict(total.units)} if total.units else entry
