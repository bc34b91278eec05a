"""Tell how budgets stand: what is used, reserved and left of the running period, and how long it lasts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from django.db.models import OuterRef, QuerySet, Subquery, Sum

from gateway_project.lib import clock
from tenants.budgets import zones
from tenants.models import Budget, BudgetAlert, BudgetWindow, UsageDay

PACE_DAYS = 7
DAY = timedelta(days=1)
# A budget that lasts longer at its pace is not said to end on a certain day.
FURTHEST = timedelta(days=366)
_OF_WINDOW = ("starts_at", "spent_nano", "reserved_nano")


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget in its running period. Amounts are nano-dollars.

    starts_at    the beginning of the period; None: it counts from the first call on
    ends_at      when the next period begins; None: never
    left_nano    what can still be given out; negative where a budget that only warns is exceeded
    daily_nano   what its calls were charged on each of the last days (UTC), the oldest first; empty where
                 the budget counts list prices, which no sums are kept of
    runs_out_at  when nothing is left at that pace; None: not within the period, or there is no pace
    reached      the thresholds reached in this period, in percent
    """

    budget_id: int
    starts_at: datetime | None
    ends_at: datetime | None
    amount_nano: int
    used_nano: int
    reserved_nano: int
    daily_nano: tuple[int, ...]
    runs_out_at: datetime | None
    reached: tuple[int, ...]

    @property
    def left_nano(self) -> int:
        return self.amount_nano - self.used_nano - self.reserved_nano

    def percent(self, nano: int) -> float:
        """Return a part of the amount in percent, between 0 and 100."""
        if self.amount_nano == 0:
            return 100.0
        return min(max(100 * nano / self.amount_nano, 0.0), 100.0)


def standings(budgets: Sequence[Budget], *, with_reached: bool = True) -> dict[int, BudgetState]:
    """Return how each of these budgets stands now, by its id. Their tenants and keys must be joined.

    Without `reached`, the thresholds are not looked up.
    """
    now = clock.now()
    spans = {budget.pk: _span(budget, now) for budget in budgets}
    windows = _windows(spans)
    reached = _reached(windows.values()) if with_reached else {}
    daily = _daily(budgets, now)
    return {
        budget.pk: _standing(
            budget,
            spans[budget.pk],
            windows.get(budget.pk),
            daily.get(_subject(budget)),
            tuple(reached.get(budget.pk, ())),
            now,
        )
        for budget in budgets
    }


def of_rows(rows: QuerySet[Budget]) -> list[tuple[Budget, BudgetState]]:
    """Return these budgets and how they stand by one query: without pace, and what follows from it, and
    without the thresholds they reached.
    """
    now = clock.now()
    newest = BudgetWindow.objects.filter(budget=OuterRef("pk")).order_by("-starts_at")
    beside = {f"newest_{name}": Subquery(newest.values(name)[:1]) for name in _OF_WINDOW}
    found = []
    for budget in rows.select_related("tenant", "api_key").annotate(**beside):
        span = _span(budget, now)
        values = {name: getattr(budget, f"newest_{name}") for name in _OF_WINDOW}
        window = BudgetWindow(**values) if values["starts_at"] == span[0] else None
        found.append((budget, _standing(budget, span, window, None, (), now)))
    return found


def of_windows(windows: Sequence[BudgetWindow]) -> list[BudgetState]:
    """Return how the budgets of these running periods stand, without the thresholds they reached. Budgets,
    tenants and keys must be joined.
    """
    now = clock.now()
    daily = _daily([window.budget for window in windows], now) if windows else {}
    return [
        _standing(
            window.budget,
            (window.starts_at, window.ends_at),
            window,
            daily.get(_subject(window.budget)),
            (),
            now,
        )
        for window in windows
    ]


def standing(budget: Budget) -> BudgetState:
    """Return how one budget stands now."""
    return standings([budget])[budget.pk]


def current_span(budget: Budget, now: datetime) -> tuple[datetime | None, datetime | None]:
    """Return the running period of a budget as `BudgetState` has it."""
    starts_at, ends_at = _span(budget, now)
    return (None if ends_at is None else starts_at), ends_at


Span = tuple[datetime, datetime | None]
Subject = tuple[int, str]  # a tenant, and the public id of a key; blank: all of them


def _span(budget: Budget, now: datetime) -> Span:
    if budget.period == Budget.Period.TOTAL:
        return datetime.fromtimestamp(0, UTC), None
    tenant = budget.tenant
    kept = tenant.zone_switches or zones.unchanged(tenant.time_zone)
    known = zones.switches(kept, budget.period)
    starts_at, ends_at = zones.span(budget.period, known, now.timestamp())
    return datetime.fromtimestamp(starts_at, UTC), datetime.fromtimestamp(ends_at, UTC)


def _windows(spans: Mapping[int, Span]) -> dict[int, BudgetWindow]:
    """Return the rows of these periods; there is none before a budget is first drawn on."""
    found = BudgetWindow.objects.filter(
        budget__in=spans.keys(), starts_at__in={span[0] for span in spans.values()}
    )
    return {
        window.budget_id: window
        for window in found.order_by()
        if window.starts_at == spans[window.budget_id][0]
    }


def _reached(windows: Iterable[BudgetWindow]) -> dict[int, list[int]]:
    """Return the thresholds reached in these periods, by budget."""
    rows = BudgetAlert.objects.filter(window__in=list(windows)).order_by("percent")
    found: dict[int, list[int]] = {}
    for budget, percent in rows.values_list("window__budget", "percent"):
        found.setdefault(budget, []).append(percent)
    return found


def _daily(budgets: Iterable[Budget], now: datetime) -> dict[Subject, list[int]]:
    """Return what the tenants and keys of these budgets were charged on each day, today the last."""
    tenants = {budget.tenant_id for budget in budgets}
    first = _first_day(now)
    rows = UsageDay.objects.filter(tenant__in=tenants, starts_at__gte=first).order_by()
    found: dict[Subject, list[int]] = {}
    for tenant_id, key, at, charge in rows.values_list(
        "tenant_id", "key_public_id", "starts_at"
    ).annotate(charge=Sum("charge_nano")):
        day = (at - first).days
        for subject in {(tenant_id, ""), (tenant_id, key)}:
            days = found.setdefault(subject, [0] * PACE_DAYS)
            if 0 <= day < PACE_DAYS:
                days[day] += charge
    return found


def _first_day(now: datetime) -> datetime:
    return datetime.combine(now.astimezone(UTC).date(), time(), UTC) - (PACE_DAYS - 1) * DAY


def _subject(budget: Budget) -> Subject:
    return budget.tenant_id, budget.api_key.public_id if budget.api_key is not None else ""


def _standing(
    budget: Budget,
    span: Span,
    window: BudgetWindow | None,
    daily: list[int] | None,
    reached: tuple[int, ...],
    now: datetime,
) -> BudgetState:
    starts_at, ends_at = span
    used, reserved = (0, 0) if window is None else (window.spent_nano, window.reserved_nano)
    days = () if budget.counts_list_price else tuple(daily or [0] * PACE_DAYS)
    left = budget.amount_nano - used  # what is reserved is given back where it is not spent
    pace = _pace(days, now) if days else _pace_of_period(used, starts_at, ends_at, now)
    return BudgetState(
        budget_id=budget.pk,
        starts_at=None if ends_at is None else starts_at,
        ends_at=ends_at,
        amount_nano=budget.amount_nano,
        used_nano=used,
        reserved_nano=reserved,
        daily_nano=days,
        runs_out_at=_runs_out(left, pace, ends_at, now),
        reached=reached,
    )


def _pace(days: Sequence[int], now: datetime) -> float:
    """Return nano-dollars per second since the first of these days on which anything was charged."""
    first = next((number for number, charge in enumerate(days) if charge), None)
    if first is None:
        return 0.0
    since = now - (_first_day(now) + first * DAY)
    return sum(days) / max(since, DAY).total_seconds()


def _pace_of_period(
    used: int, starts_at: datetime, ends_at: datetime | None, now: datetime
) -> float:
    if ends_at is None:
        return 0.0  # it counts from 1970 on
    return used / max(now - starts_at, DAY).total_seconds()


def _runs_out(left: int, pace: float, ends_at: datetime | None, now: datetime) -> datetime | None:
    if left <= 0 or pace <= 0:
        return None
    seconds = left / pace
    if seconds >= FURTHEST.total_seconds():
        return None
    at = now + timedelta(seconds=seconds)
    return at if ends_at is None or at < ends_at else None
