"""Add up usage over a span of time, in groups, as far as whoever asks may see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, get_args

from django.core.exceptions import PermissionDenied, ValidationError

from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.billing import sums
from tenants.billing.sums import Total
from tenants.managed.resource import resource_of
from tenants.models import UsageRow

GROUPINGS: tuple[sums.Grouping, ...] = get_args(sums.Grouping)
MAX_DAYS: Mapping[str, int] = {"hour": 31}
MAX_DAYS_OF_OTHERS = 400
MAX_GROUPS = 1000


@dataclass(frozen=True, slots=True)
class UsageQuestion:
    """A question: what was used from `start` until `end`, by one tenant or (None) by all."""

    tenant_id: int | None
    start: datetime
    end: datetime
    by: sums.Grouping


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The groups in their order, the first MAX_GROUPS of them."""

    groups: list[dict[str, Any]]
    has_more: bool


def usage(who: Access, asked: UsageQuestion) -> UsageReport:
    """Return the report. Raise ValidationError for a span that cannot be asked for, or PermissionDenied."""
    if not who.may("view", Area.USAGE, asked.tenant_id):
        raise PermissionDenied
    subject = UsageRow() if asked.tenant_id is None else UsageRow(tenant_id=asked.tenant_id)
    hidden = resource_of(UsageRow).hidden(who, subject)
    # A report in groups of what answered would name it.
    if sums.COLUMNS.get(asked.by) in hidden:
        raise PermissionDenied
    _check_span(asked)
    totals = sums.totals(asked.tenant_id, asked.start, asked.end, asked.by)
    shown = [name for name in sums.FIGURES if name not in hidden]
    groups = [_group(total, shown) for total in totals[:MAX_GROUPS]]
    return UsageReport(groups, len(totals) > MAX_GROUPS)


def _check_span(asked: UsageQuestion) -> None:
    if asked.start >= asked.end:
        raise ValidationError({"start": "It must be before 'end'."})
    most = MAX_DAYS.get(asked.by, MAX_DAYS_OF_OTHERS)
    if asked.end - asked.start > timedelta(days=most):
        raise ValidationError({"start": f"By {asked.by}, ask for at most {most} days."})


def _group(total: Total, shown: list[str]) -> dict[str, Any]:
    return {
        "group": str(total.group) if isinstance(total.group, int) else total.group,
        **{name: total[name] for name in shown},
        "units": dict(total.units),
    }
