"""Correct what a row of the ledger says, and settle what was deferred, by writing further rows.

A row never changes. A correction takes back what stands of the call and, unless it is void, records what
is right, at the prices the call was opened at; both rows name the one they correct. What a closed month
lacks or has too much is on its tenant's next invoice, like all late usage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models
from django.db.models import F, Q
from django.db.models.functions import Greatest

from gateway_project.lib import clock
from gateway_project.lib.db import durable_transaction
from tenants.ledger.open_calls import CHARGES
from tenants.ledger.row_ids import MAX_LEG, STEP, leg_of
from tenants.models import BudgetWindow, DirtyHour, UsageRow
from tenants.prices import book
from tenants.prices.rating import NOTHING, Rated, rate
from tenants.token_classes import TOKEN_CLASSES, Usage

MOST_REASON = 300
AMOUNTS = (*TOKEN_CLASSES, *CHARGES, "cost_nano", "charge_nano", "unfunded_nano", "list_nano")
# What a further row takes over from the one it corrects.
_SAME = (
    "tenant_id", "tenant_slug", "key_id", "key_public_id", "end_user", "tags", "route", "alias",
    "requested_model", "provider", "upstream_model", "service_tier", "streamed", "background",
    "websocket", "opened_at", "cost_version", "charge_version", "list_version",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Amounts:
    """The amounts of a row: `columns` by the name of the column, `by_unit` in the form of its `units`."""

    columns: dict[str, int]
    by_unit: dict[str, list[int]]

    @classmethod
    def of(cls, row: UsageRow) -> Amounts:
        return cls({name: getattr(row, name) for name in AMOUNTS}, row.units or {})

    def __bool__(self) -> bool:
        return any(self.columns.values()) or any(map(any, self.by_unit.values()))

    def __sub__(self, other: Amounts) -> Amounts:
        names = self.by_unit.keys() | other.by_unit.keys()
        return Amounts(
            {name: amount - other.columns[name] for name, amount in self.columns.items()},
            {name: _less(self.by_unit.get(name), other.by_unit.get(name)) for name in names},
        )


def _less(one: list[int] | None, other: list[int] | None) -> list[int]:
    """Subtract another's quantity and charge of a unit; None counts as nothing."""
    return [a - b for a, b in zip(one or (0, 0), other or (0, 0), strict=True)]


NO_AMOUNTS = Amounts(dict.fromkeys(AMOUNTS, 0), {})


def correct(row: UUID, usage: Usage | None, *, reason: str, actor: str) -> list[UsageRow]:
    """Make the call of this row stand for `usage` (None: for nothing), and return the rows written.

    Raise ValidationError for a row that does not exist, is a correction itself or has no room for
    another, and without a reason.
    """
    check_reason(reason)
    return _written(row, usage, reason, actor, only_deferred=False)


def settle_deferred(row: UUID, usage: Usage, *, actor: str) -> list[UsageRow]:
    """Record what a call took whose settlement was deferred, once. Raise ValidationError."""
    return _written(row, usage, "settled", actor, only_deferred=True)


def _written(
    pk: UUID, usage: Usage | None, reason: str, actor: str, *, only_deferred: bool
) -> list[UsageRow]:
    try:
        with durable_transaction():
            row = _row(pk)
            earlier = list(UsageRow.objects.filter(corrects=pk).order_by("pk"))
            if only_deferred:
                _check_deferred(row, earlier)
            fresh = _rows(row, earlier, usage, {"reason": reason, "actor": actor[:200]})
            UsageRow.objects.bulk_create(fresh)
            move_budgets([(row, fresh)])
            hour = row.opened_at.replace(minute=0, second=0, microsecond=0)
            DirtyHour.objects.create(tenant_id=row.tenant_id, hour=hour)
    except IntegrityError as error:  # their ids say that they come after what we saw
        raise _refused("It was just corrected by somebody else; look at it again.") from error
    return fresh


def check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > MOST_REASON:
        raise ValidationError({"reason": f"Give a reason of at most {MOST_REASON} characters."})


def _row(pk: UUID) -> UsageRow:
    row = UsageRow.objects.filter(pk=pk).first()
    if row is None:
        raise _refused(
            "The ledger has no such row; rows older than TOLLGATE_USAGE_DAYS are deleted."
        )
    if row.cache_outcome == UsageRow.CacheOutcome.HIT:
        raise _refused(
            "It was answered from the cache, by no provider whose report could be right."
        )
    if row.corrects is not None:
        raise _refused(f"This is a correction itself; name the call's own row, {row.corrects}.")
    return row


def _check_deferred(row: UsageRow, earlier: Sequence[UsageRow]) -> None:
    if row.status != UsageRow.Status.DEFERRED:
        raise _refused("Its settlement was not deferred; correct it instead.")
    if earlier:
        raise _refused("It is already settled; correct it instead.")


def _rows(
    row: UsageRow, earlier: Sequence[UsageRow], usage: Usage | None, why: Mapping[str, str]
) -> list[UsageRow]:
    # What was re-rated meanwhile stays charged by that version.
    version = (earlier[-1] if earlier else row).charge_version
    right = NO_AMOUNTS if usage is None else _rated(row, usage, version)
    ids = _ids(row.pk, earlier)
    changes = [change for change in (NO_AMOUNTS - standing(row, earlier), right) if change]
    # Also that nothing was used is written down.
    rows = [_further(row, next(ids), change, why) for change in changes or [right]]
    rows[-1].charge_version = version
    return rows


def standing(row: UsageRow, earlier: Sequence[UsageRow]) -> Amounts:
    """Return what stands of a call after its corrections."""
    taken_back = NO_AMOUNTS
    for one in (row, *earlier):
        taken_back -= Amounts.of(one)
    return NO_AMOUNTS - taken_back


def restated(  # the call, what stands of it, and what is right
    row: UsageRow,
    earlier: Sequence[UsageRow],
    now: Amounts,
    right: Amounts,
    version: int,
    why: Mapping[str, str],
) -> list[UsageRow]:
    """Return rows that take back what stands of a call, and state what is right, charged by this version.

    Raise ValidationError if there is no room for another correction.
    """
    ids = _ids(row.pk, earlier)
    taken_back = _further(row, next(ids), NO_AMOUNTS - now, why)
    stated = _further(row, next(ids), right, why)
    stated.charge_version = version
    return [taken_back, stated]


def _ids(pk: UUID, earlier: Sequence[UsageRow]) -> Iterator[UUID]:
    """Return ids behind all existing ones, so that of two writers who saw the same only one succeeds."""
    leg = leg_of(max((one.pk for one in earlier), default=pk))
    while (leg := leg + STEP) <= MAX_LEG:
        yield UUID(int=pk.int & ~MAX_LEG | leg)
    raise _refused("It has been corrected too often.")


def _rated(row: UsageRow, usage: Usage, charge_version: int | None) -> Amounts:
    versions = (row.cost_version, charge_version, row.list_version)
    terms = book.version_terms(version for version in versions if version is not None)

    def by(version: int | None) -> Rated:
        if version is None:
            return NOTHING
        return rate(usage, row.service_tier, terms[version])

    charge = by(charge_version)
    columns = {
        **dict(zip(TOKEN_CLASSES, usage.counts, strict=True)),
        **dict(zip(CHARGES, charge.by_class, strict=True)),
        "cost_nano": by(row.cost_version).total,
        "charge_nano": charge.total,
        "unfunded_nano": 0,
        "list_nano": by(row.list_version).total,
    }
    shares = zip(usage.units, charge.of_units(usage.units), strict=True)
    return Amounts(columns, {name: [quantity, share] for (name, quantity), share in shares})


def _further(row: UsageRow, pk: UUID, amounts: Amounts, why: Mapping[str, str]) -> UsageRow:
    return UsageRow(
        **{name: getattr(row, name) for name in _SAME},
        **amounts.columns,
        units={name: pair for name, pair in amounts.by_unit.items() if any(pair)} or None,
        **why,
        id=pk,
        leg=leg_of(pk),
        status=UsageRow.Status.CORRECTION,
        usage_source=UsageRow.Source.PROVIDER,
        corrects=row.pk,
        recorded_at=clock.now(),
    )


def move_budgets(corrected: Sequence[tuple[UsageRow, Sequence[UsageRow]]]) -> None:
    """Move the budgets that bound these calls by what the rows beside each add: those that its key and
    tenant had when it was opened.
    """
    added = [
        (
            call,
            sum(row.charge_nano for row in fresh),
            sum(row.list_nano for row in fresh),
        )
        for call, fresh in corrected
    ]
    moving = [each for each in added if each[1] or each[2]]
    if not moving:
        return
    opened = [call.opened_at for call, _, _ in moving]
    windows: models.QuerySet[BudgetWindow] = BudgetWindow.objects.filter(
        Q(ends_at=None) | Q(ends_at__gt=min(opened)),
        budget__tenant__in={call.tenant_id for call, _, _ in moving},
        starts_at__lte=max(opened),
    ).select_related("budget")
    for window in windows.order_by("budget_id", "starts_at").select_for_update(of=("self",)):
        nano = sum(
            listed if _counts_list_price(window, call) else charged
            for call, charged, listed in moving
            if _bounds(window, call)
        )
        if nano:
            BudgetWindow.objects.filter(pk=window.pk).update(
                spent_nano=Greatest(F("spent_nano") + nano, 0)
            )


def _bounds(window: BudgetWindow, call: UsageRow) -> bool:
    """Tell whether the call was opened in this window of a budget of its key or tenant."""
    budget, at = window.budget, call.opened_at
    is_its = budget.tenant_id == call.tenant_id and budget.api_key_id in {None, call.key_id}
    is_then = window.starts_at <= at and (window.ends_at is None or at < window.ends_at)
    return is_its and is_then and budget.created_at <= at


def _counts_list_price(window: BudgetWindow, call: UsageRow) -> bool:
    # The row has a list version if budgets that count list prices bound this call.
    return call.list_version is not None and window.budget.counts_list_price


def _refused(message: str) -> ValidationError:
    return ValidationError({"row": message})
