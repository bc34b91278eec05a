"""Compare a provider's bill with our own sums, and report differences beyond a tolerance."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Sum

from tenants import units
from tenants.billing import rollups, unit_sums
from tenants.billing.money import NANO_PER_DOLLAR, exact_dollars
from tenants.billing.sums import in_utc
from tenants.models import UsageDay
from tenants.token_classes import INPUT_CLASSES, OUTPUT_CLASSES, Quantities

COLUMNS = ("date", "model", "input_tokens", "output_tokens", "cost")
# A difference is told above a thousandth of the provider's figure, or above a dollar.
PARTS_ALLOWED = 1000
NANO_ALLOWED = NANO_PER_DOLLAR


@dataclass(frozen=True, slots=True)
class Figures:
    """`units` are those beside tokens that the bill has a column of (tenants/units.py)."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0
    units: Quantities = ()

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_nano + other.cost_nano,
            units.added((self.units, other.units)),
        )

    def fields(self) -> dict[str, int]:
        tokens = {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens}
        return {**tokens, "cost_nano": self.cost_nano, **dict(self.units)}

    def __str__(self) -> str:
        of_units = "".join(
            f"{units.of(name).shown(quantity)} {units.of(name).label}, "
            for name, quantity in self.units
        )
        tokens = f"{self.input_tokens} in, {self.output_tokens} out, "
        return f"{tokens}{of_units}${exact_dollars(self.cost_nano)}"


@dataclass(frozen=True, slots=True)
class BillDifference:
    """A day (UTC) and model for which the provider's figure differs from ours."""

    day: date
    model: str
    theirs: Figures
    ours: Figures

    def fields(self) -> dict[str, Any]:
        return {
            "date": f"{self.day}",
            "model": self.model,
            "theirs": self.theirs.fields(),
            "ours": self.ours.fields(),
        }

    def __str__(self) -> str:
        return f"{self.day} {self.model}: they say {self.theirs}; we say {self.ours}"


Bill = dict[tuple[date, str], Figures]


def differences(
    lines: Iterable[str], provider: str | None = None
) -> tuple[int, list[BillDifference]]:
    """Return how many days and models were compared, and those that differ.

    Days the bill does not reach are ignored; models it leaves out are not.
    """
    theirs = bill(lines)
    if not theirs:
        raise ValidationError({"provider_csv": "It has no lines."})
    days = [day for day, _ in theirs]
    named = {name for figures in theirs.values() for name, _ in figures.units}
    ours = _ours(min(days), max(days), provider, named)
    compared = sorted(theirs.keys() | ours.keys())
    found = [
        BillDifference(*subject, theirs.get(subject, Figures()), ours.get(subject, Figures()))
        for subject in compared
    ]
    return len(compared), [one for one in found if _differ(one.theirs, one.ours)]


def bill(lines: Iterable[str]) -> Bill:
    """Sum a bill by day and model. Raise ValidationError naming the line."""
    reader = csv.DictReader(lines)
    if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
        raise ValidationError({"provider_csv": f"The column {missing[0]!r} is missing."})
    found: Bill = {}
    for subject, figures in _parsed(reader):
        found[subject] = found.get(subject, Figures()) + figures
    return found


def _parsed(reader: csv.DictReader[str]) -> Iterator[tuple[tuple[date, str], Figures]]:
    for number, row in enumerate(reader, start=2):
        try:
            day = date.fromisoformat(row["date"])
            cost = int((Decimal(row["cost"]) * NANO_PER_DOLLAR).to_integral_value())
            of_units = {u.name: int(row[u.name]) for u in units.beside_tokens() if u.name in row}
            tokens = int(row["input_tokens"]), int(row["output_tokens"])
            figures = Figures(*tokens, cost, units.in_order(of_units))
        except (ValueError, TypeError, ArithmeticError, InvalidOperation) as error:
            raise ValidationError(
                {"provider_csv": f"Line {number} cannot be read; a line is {', '.join(COLUMNS)}."}
            ) from error
        yield (day, row["model"]), figures


def _ours(first: date, last: date, provider: str | None, named: set[str]) -> Bill:
    """Our own figures; of units beside tokens those `named` by the bill."""
    while rollups.recompute_dirty():
        pass
    start = datetime.combine(first, time(), UTC)
    end = datetime.combine(last, time(), UTC) + timedelta(days=1)
    # What no provider answered but the response cache is on no bill.
    days = UsageDay.objects.filter(starts_at__gte=start, starts_at__lt=end).exclude(provider="")
    if provider is not None:
        days = days.filter(provider=provider)
    names = (*INPUT_CLASSES, *OUTPUT_CLASSES, "cost_nano")
    sums: dict[str, Any] = {f"of_{name}": Sum(name) for name in names}
    found: Any = days.order_by().values("starts_at", "upstream_model").annotate(**sums)
    ours = {
        (row["starts_at"].date(), row["upstream_model"]): Figures(
            sum(row[f"of_{name}"] for name in INPUT_CLASSES),
            sum(row[f"of_{name}"] for name in OUTPUT_CLASSES),
            row["of_cost_nano"],
        )
        for row in found
    }
    for at, model, name, quantity in unit_sums.of_sums(days, "starts_at", "upstream_model"):
        if name in named:
            ours[in_utc(at).date(), model] += Figures(units=((name, quantity),))
    return ours


def _differ(theirs: Figures, ours: Figures) -> bool:
    if abs(theirs.cost_nano - ours.cost_nano) > NANO_ALLOWED:
        return True
    pairs = (
        (theirs.input_tokens, ours.input_tokens),
        (theirs.output_tokens, ours.output_tokens),
        (theirs.cost_nano, ours.cost_nano),
        *_pairs(dict(theirs.units), dict(ours.units)),
    )
    return any(abs(a - b) * PARTS_ALLOWED > abs(a) for a, b in pairs)


def _pairs(theirs: dict[str, int], ours: dict[str, int]) -> list[tuple[int, int]]:
    return [(theirs.get(name, 0), ours.get(name, 0)) for name in theirs.keys() | ours.keys()]
