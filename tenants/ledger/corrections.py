"""Putting right what a row of the ledger says, and settling what was left for later: by further rows.

A row never changes. A correction takes back what stands of the call and, unless it is void, writes down what
is right, at the prices the call was opened at; both rows name the one they correct. What a closed month
lacks or has too much is on its tenant's next invoice, like all that comes late.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models
from django.db.models import F, Q
from django.db.models.functions import Greatest

from gateway_project.lib import clock
from gateway_project.lib.db import durable_transaction
from tenants.ledger.row_ids import MAX_LEG, STEP, leg_of
from tenants.models import BudgetWindow, DirtyHour, UsageRow
from tenants.prices import book
from tenants.prices.rating import NOTHING, Rated, rate
from tenants.token_classes import TOKEN_CLASSES, Usage

MOST_REASON = 300
CHARGES = tuple(f"charge_{name}" for name in TOKEN_CLASSES)
AMOUNTS = (*TOKEN_CLASSES, *CHARGES, "cost_nano", "charge_nano", "unfunded_nano", "list_nano")
# What a further row takes over from the one it corrects.
_SAME = (
    "tenant_id", "tenant_slug", "key_id", "key_public_id", "end_user", "tags", "route", "alias",
    "requested_model", "provider", "upstream_model", "service_tier", "streamed", "background",
    "websocket", "opened_at", "cost_version", "charge_version", "list_version",
)  # fmt: skip
Amounts = dict[str, int]


def correct(row: UUID, usage: Usage | None, *, reason: str, actor: str) -> list[UsageRow]:
    """Have the call of this row stand for `usage`; None: for nothing. The rows that were written.

    Raises ValidationError for a row that is not there, is a correction itself or has no room for another, and
    without a reason.
    """
    _check(reason)
    return _written(row, usage, reason, actor, only_deferred=False)


def settle_deferred(row: UUID, usage: Usage, *, actor: str) -> list[UsageRow]:
    """Write down what a call took that was left to be settled later, once. Raises ValidationError."""
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
            _move_budgets(row, fresh)
            hour = row.opened_at.replace(minute=0, second=0, microsecond=0)
            DirtyHour.objects.create(tenant_id=row.tenant_id, hour=hour)
    except IntegrityError as error:  # their ids say that they come after what we saw
        raise _refused("It was corrected at this moment; look at it again.") from error
    return fresh


def _check(reason: str) -> None:
    if not reason.strip() or len(reason) > MOST_REASON:
        raise ValidationError({"reason": f"Say why, in at most {MOST_REASON} characters."})


def _row(pk: UUID) -> UsageRow:
    row = UsageRow.objects.filter(pk=pk).first()
    if row is None:
        raise _refused(
            "The ledger has no such row; rows older than TOLLGATE_USAGE_DAYS are deleted."
        )
    if row.corrects is not None:
        raise _refused(f"This is a correction itself; name the call's own row, {row.corrects}.")
    return row


def _check_deferred(row: UsageRow, earlier: Sequence[UsageRow]) -> None:
    if row.status != UsageRow.Status.DEFERRED:
        raise _refused("It was not left to be settled later; correct it instead.")
    if earlier:
        raise _refused("It is settled already; correct it instead.")


def _rows(
    row: UsageRow, earlier: Sequence[UsageRow], usage: Usage | None, why: dict[str, str]
) -> list[UsageRow]:
    standing = {name: sum(getattr(one, name) for one in (row, *earlier)) for name in AMOUNTS}
    right = dict.fromkeys(AMOUNTS, 0) if usage is None else _rated(row, usage)
    changes = [{name: -amount for name, amount in standing.items()}, right]
    ids = _ids(row.pk, earlier)
    return [
        _further(row, next(ids), change, why) for change in changes if any(change.values())
    ] or [_further(row, next(ids), right, why)]  # also that nothing was used is written down


def _ids(pk: UUID, earlier: Sequence[UsageRow]) -> Iterator[UUID]:
    """Behind all there are, so that of two who saw the same only one can write."""
    leg = leg_of(max((one.pk for one in earlier), default=pk))
    while (leg := leg + STEP) <= MAX_LEG:
        yield UUID(int=pk.int & ~MAX_LEG | leg)
    raise _refused("It was corrected too often.")


def _rated(row: UsageRow, usage: Usage) -> Amounts:
    versions = (row.cost_version, row.charge_version, row.list_version)
    terms = book.version_terms(version for version in versions if version is not None)

    def by(version: int | None) -> Rated:
        if version is None:
            return NOTHING
        return rate(usage, row.service_tier, terms[version])

    charge = by(row.charge_version)
    return {
        **dict(zip(TOKEN_CLASSES, usage.counts, strict=True)),
        **dict(zip(CHARGES, charge.by_class, strict=True)),
        "cost_nano": by(row.cost_version).total,
        "charge_nano": charge.total,
        "unfunded_nano": 0,
        "list_nano": by(row.list_version).total,
    }


def _further(row: UsageRow, pk: UUID, amounts: Amounts, why: dict[str, str]) -> UsageRow:
    return UsageRow(
        **{name: getattr(row, name) for name in _SAME},
        **amounts,
        **why,
        id=pk,
        leg=leg_of(pk),
        status=UsageRow.Status.CORRECTION,
        usage_source=UsageRow.Source.PROVIDER,
        corrects=row.pk,
        recorded_at=clock.now(),
    )


def _move_budgets(row: UsageRow, fresh: Sequence[UsageRow]) -> None:
    """Of budgets that bound the call: those of its key and tenant that there were when it was opened. The row
    has a list version if those that count list prices did so for this call."""
    charged = sum(added.charge_nano for added in fresh)
    listed = sum(added.list_nano for added in fresh)
    if not (charged or listed):
        return
    windows: models.QuerySet[BudgetWindow] = BudgetWindow.objects.filter(
        Q(budget__api_key=None) | Q(budget__api_key=row.key_id),
        Q(ends_at=None) | Q(ends_at__gt=row.opened_at),
        budget__tenant=row.tenant_id,
        budget__created_at__lte=row.opened_at,
        starts_at__lte=row.opened_at,
    ).select_related("budget")
    for window in windows.order_by("budget_id", "starts_at").select_for_update(of=("self",)):
        counts_list = row.list_version is not None and window.budget.counts_list_price
        nano = listed if counts_list else charged
        BudgetWindow.objects.filter(pk=window.pk).update(
            spent_nano=Greatest(F("spent_nano") + nano, 0)
        )


def _refused(message: str) -> ValidationError:
    return ValidationError({"row": message})
