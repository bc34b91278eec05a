"""Rate stored calls again, by the versions they were rated by, and find where the result differs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from uuid import UUID

from msgspec import Struct

from tenants.models import UsageRow
from tenants.prices import book
from tenants.prices.rating import NOTHING, Rated, Terms, rate
from tenants.token_classes import TOKEN_CLASSES, Quantities, Usage

BATCH_ROWS = 2000


class RatedRow(Struct, frozen=True):
    """The tokens and the money of a ledger row, in nano-dollars."""

    row: UUID
    tokens: tuple[int, ...]
    service_tier: str
    cost_version: int | None
    charge_version: int | None
    cost: int
    charge: int
    unfunded: int
    charges: tuple[int, ...]
    units: Quantities = ()
    unit_charges: tuple[int, ...] = ()
    saved: int = 0

    @property
    def usage(self) -> Usage:
        return Usage.of(self.tokens, units=self.units)


class RatingDifference(Struct, frozen=True):
    """An amount of a row that is not what rating gives: `charge` (with what was unfunded or saved), `cost`,
    or a class of the registry, for its share of the charge. For `charge version` and `cost version`, `stored`
    is an id that the books do not have."""

    row: UUID
    amount: str
    stored: int
    rated: int


def differences(start: datetime, end: datetime) -> Iterator[RatingDifference]:
    """Return the differences of all calls opened in [start, end), oldest first.

    Corrections are amounts of their own, not rated ones.
    """
    rows = UsageRow.objects.filter(opened_at__gte=start, opened_at__lt=end)
    rows = rows.exclude(status=UsageRow.Status.CORRECTION).order_by("opened_at", "id")
    calls = (call_of(row) for row in rows.iterator(chunk_size=BATCH_ROWS))
    return _differing(calls)


def rerated(usage: Usage, service_tier: str, by: Terms | None) -> Rated:
    """Return what the tokens amount to; nothing if there was no price."""
    return NOTHING if by is None else rate(usage, service_tier, by)


def compare(call: RatedRow, versions: Mapping[int, Terms]) -> Iterator[RatingDifference]:
    """Return every amount of the call that differs from what its versions give. Pure."""
    for name, version in (
        ("charge version", call.charge_version),
        ("cost version", call.cost_version),
    ):
        if version is not None and version not in versions:
            yield RatingDifference(call.row, name, version, 0)
            return
    usage = call.usage
    charge = rerated(usage, call.service_tier, _version(call.charge_version, versions))
    cost = rerated(usage, call.service_tier, _version(call.cost_version, versions))
    stated = call.charge + call.unfunded + call.saved
    if stated != charge.total:
        yield RatingDifference(call.row, "charge", stated, charge.total)
    if call.cost != cost.total:
        yield RatingDifference(call.row, "cost", call.cost, cost.total)
    funded = charge.capped(call.charge)
    names = (*TOKEN_CLASSES, *(name for name, _ in call.units))
    shares = funded.by_class + funded.of_units(call.units)
    for name, stored, share in zip(names, call.charges + call.unit_charges, shares, strict=True):
        if stored != share:
            yield RatingDifference(call.row, name, stored, share)


def call_of(row: UsageRow) -> RatedRow:
    return RatedRow(
        row.id,
        row.tokens,
        row.service_tier,
        row.cost_version,
        row.charge_version,
        row.cost_nano,
        row.charge_nano,
        row.unfunded_nano,
        tuple(getattr(row, f"charge_{name}") for name in TOKEN_CLASSES),
        row.quantities,
        row.unit_charges,
        row.saved_nano,
    )


def _differing(calls: Iterable[RatedRow]) -> Iterator[RatingDifference]:
    """Compare a batch; the versions that it is the first to name are read together."""
    versions: dict[int, Terms] = {}
    calls = iter(calls)
    while batch := list(islice(calls, BATCH_ROWS)):
        named = {v for call in batch for v in (call.cost_version, call.charge_version)}
        if unread := named - versions.keys() - {None}:
            versions |= book.version_terms(v for v in unread if v is not None)
        for call in batch:
            yield from compare(call, versions)


def _version(version: int | None, versions: Mapping[int, Terms]) -> Terms | None:
    return None if version is None else versions[version]
