"""A provider's bill beside our own sums: where they differ by more than a trifle."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Sum

from tenants.billing import rollups
from tenants.billing.money import NANO_PER_DOLLAR, exact_dollars
from tenants.models import UsageDay
from tenants.token_classes import INPUT_CLASSES, OUTPUT_CLASSES

COLUMNS = ("date", "model", "input_tokens", "output_tokens", "cost")
# A difference is told above a thousandth of the provider's figure, or above a dollar.
PARTS_ALLOWED = 1000
NANO_ALLOWED = NANO_PER_DOLLAR


@dataclass(frozen=True, slots=True)
class Figures:
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_nano + other.cost_nano,
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """A day (UTC) and model for which the provider says something else than we."""

    day: date
    model: str
    theirs: Figures
    ours: Figures

    def fields(self) -> dict[str, Any]:
        return {
            "date": f"{self.day}",
            "model": self.model,
            "theirs": asdict(self.theirs),
            "ours": asdict(self.ours),
        }

    def __str__(self) -> str:
        theirs, ours = self.theirs, self.ours
        return (
            f"{self.day} {self.model}: they say {theirs.input_tokens} in, {theirs.output_tokens} out, "
            f"${exact_dollars(theirs.cost_nano)}; we say {ours.input_tokens} in, {ours.output_tokens} out, "
            f"${exact_dollars(ours.cost_nano)}"
        )


Bill = dict[tuple[date, str], Figures]


def differences(lines: Iterable[str], provider: str | None = None) -> tuple[int, list[Difference]]:
    """How many days and models were compared, and those that differ. Days the bill does not reach are not
    looked at, models it leaves out are."""
    theirs = bill(lines)
    if not theirs:
        raise ValidationError({"provider_csv": "There is no line in it."})
    days = [day for day, _ in theirs]
    ours = _ours(min(days), max(days), provider)
    compared = sorted(theirs.keys() | ours.keys())
    found = [
        Difference(*subject, theirs.get(subject, Figures()), ours.get(subject, Figures()))
        for subject in compared
    ]
    return len(compared), [one for one in found if _differ(one.theirs, one.ours)]


def bill(lines: Iterable[str]) -> Bill:
    """Summed by day and model. Raises ValidationError naming the line."""
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
            figures = Figures(int(row["input_tokens"]), int(row["output_tokens"]), cost)
        except (ValueError, TypeError, ArithmeticError, InvalidOperation) as error:
            raise ValidationError(
                {"provider_csv": f"Line {number} cannot be read; a line is {', '.join(COLUMNS)}."}
            ) from error
        yield (day, row["model"]), figures


def _ours(first: date, last: date, provider: str | None) -> Bill:
    while rollups.recompute_dirty():
        pass
    start = datetime.combine(first, time(), UTC)
    end = datetime.combine(last, time(), UTC) + timedelta(days=1)
    days = UsageDay.objects.filter(starts_at__gte=start, starts_at__lt=end)
    if provider is not None:
        days = days.filter(provider=provider)
    names = (*INPUT_CLASSES, *OUTPUT_CLASSES, "cost_nano")
    sums: dict[str, Any] = {f"of_{name}": Sum(name) for name in names}
    found: Any = days.order_by().values("starts_at", "upstream_model").annotate(**sums)
    return {
        (row["starts_at"].date(), row["upstream_model"]): Figures(
            sum(row[f"of_{name}"] for name in INPUT_CLASSES),
            sum(row[f"of_{name}"] for name in OUTPUT_CLASSES),
            row["of_cost_nano"],
        )
        for row in found
    }


def _differ(theirs: Figures, ours: Figures) -> bool:
    if abs(theirs.cost_nano - ours.cost_nano) > NANO_ALLOWED:
        return True
    pairs = (
        (theirs.input_tokens, ours.input_tokens),
        (theirs.output_tokens, ours.output_tokens),
        (theirs.cost_nano, ours.cost_nano),
    )
    return any(abs(a - b) * PARTS_ALLOWED > abs(a) for a, b in pairs)
