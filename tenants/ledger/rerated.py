"""Rate calls anew by a price version, as corrections: rows that take back what stands, and what is right.

Pure but for reading earlier corrections; `write` stores what was found. Only the charge changes. These calls
stay as they are: those that the cache answered, those of which budgets did not pay all or of which nothing
came, those whose settlement is deferred, and those that were corrected seven times.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django.core.exceptions import ValidationError

from tenants.ledger import corrections
from tenants.ledger.corrections import Amounts
from tenants.ledger.open_calls import CHARGES
from tenants.models import DirtyHour, UsageRow
from tenants.prices.rating import Terms, rate
from tenants.token_classes import TOKEN_CLASSES, Usage
from tenants.units import place

Status = UsageRow.Status
# Of these the client may have been given nothing, which is charged nothing whatever the price.
UNANSWERED = frozenset({Status.FAILED, Status.ABANDONED, Status.DEFERRED})


@dataclass(frozen=True, slots=True)
class ReratedCall:
    """A call and the rows that rate it anew; none if its charge stays the same."""

    call: UsageRow
    before: int
    after: int
    rows: Sequence[UsageRow] = ()


@dataclass(frozen=True, slots=True)
class ReratedCalls:
    """Calls that were rated anew, and how many stay as they are because they cannot be."""

    found: Sequence[ReratedCall]
    left: int

    @property
    def changed(self) -> list[ReratedCall]:
        return [each for each in self.found if each.rows]


def rerate(calls: Sequence[UsageRow], by: Terms, *, reason: str, actor: str) -> ReratedCalls:
    """Rate calls by these terms. Nothing is written."""
    earlier: dict[UUID, list[UsageRow]] = defaultdict(list)
    for row in UsageRow.objects.filter(corrects__in=[call.pk for call in calls]).order_by("pk"):
        assert row.corrects is not None
        earlier[row.corrects].append(row)
    why = {"reason": reason, "actor": actor[:200]}
    rated = [_rerated(call, earlier[call.pk], by, why) for call in calls]
    found = [each for each in rated if each is not None]
    return ReratedCalls(found, len(rated) - len(found))


def write(calls: Sequence[ReratedCall]) -> None:
    """Store the rows in the running transaction, move budgets, and have hours summed anew.

    Raise IntegrityError if one of the calls was corrected meanwhile.
    """
    UsageRow.objects.bulk_create([row for each in calls for row in each.rows])
    hours = {
        (each.call.tenant_id, each.call.opened_at.replace(minute=0, second=0, microsecond=0))
        for each in calls
    }
    corrections.move_budgets([(each.call, each.rows) for each in calls])
    marks = [DirtyHour(tenant_id=tenant, hour=hour) for tenant, hour in sorted(hours)]
    DirtyHour.objects.bulk_create(marks)


def _rerated(
    call: UsageRow, earlier: Sequence[UsageRow], by: Terms, why: Mapping[str, str]
) -> ReratedCall | None:
    """Return a call rated anew; None if it stays as it is whatever the price."""
    standing = corrections.standing(call, earlier)
    if _must_stay(call, standing):
        return None
    right = _right(call, standing, by)
    before, after = standing.columns["charge_nano"], right.columns["charge_nano"]
    if before == after:
        return ReratedCall(call, before, after)
    try:
        rows = corrections.restated(call, earlier, standing, right, by.version, why)
    except ValidationError:  # there is no room for another correction
        return None
    return ReratedCall(call, before, after, rows)


def _must_stay(call: UsageRow, standing: Amounts) -> bool:
    is_charged = bool(standing.columns["charge_nano"])
    return bool(
        call.cache_outcome == UsageRow.CacheOutcome.HIT
        or call.saved_nano
        or standing.columns["unfunded_nano"]
        or (call.status in UNANSWERED and not is_charged)
    )


def _right(call: UsageRow, standing: Amounts, by: Terms) -> Amounts:
    """Return what stands of a call with its charge as these terms have it."""
    tokens = tuple(standing.columns[name] for name in TOKEN_CLASSES)
    names = sorted(standing.by_unit, key=place)
    units = tuple((name, standing.by_unit[name][0]) for name in names)
    usage = Usage.of(tokens, units=units)
    charge = rate(usage, call.service_tier, by)
    columns = {
        **standing.columns,
        **dict(zip(CHARGES, charge.by_class, strict=True)),
        "charge_nano": charge.total,
    }
    shares = zip(units, charge.of_units(units), strict=True)
    by_unit = {name: [quantity, share] for (name, quantity), share in shares}
    return replace(standing, columns=columns, by_unit=by_unit)
