"""Render what usage_report prints: totals as rows of a table, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from gateway_project.lib import csv_text
from tenants import units
from tenants.billing import sums
from tenants.billing.money import exact_dollars
from tenants.billing.sums import Grouping, Total
from tenants.models import ApiKey, Tenant
from tenants.token_classes import INPUT_CLASSES, OUTPUT_CLASSES
from tenants.units import Unit

_HEADINGS = ("requests", "calls", "failed", "input", "output", "cost USD", "charge USD")


def rows(
    tenant: Tenant | None, start: datetime, end: datetime, by: Grouping
) -> list[dict[str, Any]]:
    """Return a row per group, with every figure; groups of keys with their names."""
    totals = sums.totals(tenant.pk if tenant else None, start, end, by)
    slugs: dict[Any, str] = {}
    if by == "tenant":
        slugs = dict(Tenant.objects.values_list("pk", "slug"))
    found = [_row(total, by, slugs) for total in totals]
    return _with_names(found) if by == "key" else found


def _with_names(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    keys = ApiKey.objects.filter(public_id__in=[row["key"] for row in found])
    names = dict(keys.values_list("public_id", "name"))
    return [{**row, "name": names.get(row["key"], "")} for row in found]


def table(found: Sequence[dict[str, Any]], by: str) -> str:
    """Return a line per group. Units beside tokens have a column if there are any of them."""
    used = [unit for unit in units.beside_tokens() if any(row[unit.name] for row in found)]
    headings = (*_HEADINGS[:4], *(unit.label for unit in used), *_HEADINGS[4:])
    lines = [(by, *headings), *(_cells(row, by, used) for row in found)]
    if found:
        summed: dict[str, Any] = {name: sum(row[name] for row in found) for name in _columns()}
        lines.append(_cells({by: "total", **summed}, by, used))
    return aligned(lines)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells as columns, all but the first to the right."""
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if place == 0 else text.rjust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def as_csv(found: Sequence[dict[str, Any]], by: str) -> str:
    """Return the rows as CSV, in which no name can become a formula."""
    text = io.StringIO()
    of_key = ("name",) if by == "key" else ()
    writer = csv.DictWriter(text, (by, *_columns(), *of_key), lineterminator="\n")
    writer.writeheader()
    for row in found:
        writer.writerow(
            {
                name: csv_text.cell(each) if isinstance(each, str) else each
                for name, each in row.items()
            }
        )
    return text.getvalue().rstrip("\n")


def _row(total: Total, by: str, slugs: dict[Any, str]) -> dict[str, Any]:
    group: Any = total.group
    if isinstance(group, datetime):
        group = f"{group:%Y-%m-%d}" if by == "day" else f"{group:%Y-%m-%dT%H:00Z}"
    figures = {name: total[name] for name in _columns()}
    return {by: slugs.get(group, str(group)), **figures}


def _columns() -> tuple[str, ...]:
    """Return the figures of a row: those of every total, then the units beside tokens."""
    return (*sums.FIGURES, *(unit.name for unit in units.beside_tokens()))


def _cells(row: dict[str, Any], by: str, used: Sequence[Unit]) -> tuple[str, ...]:
    numbers = (
        row["requests"],
        row["calls"],
        row["failed"],
        sum(row[name] for name in INPUT_CLASSES),
        sum(row[name] for name in OUTPUT_CLASSES),
    )
    amounts = (exact_dollars(row["cost_nano"]), exact_dollars(row["charge_nano"]))
    of_units = (unit.shown(row[unit.name]) for unit in used)
    group = f"{row[by]} {row['name']}" if row.get("name") else str(row[by])
    return (group, *(f"{number:,}" for number in numbers), *of_units, *amounts)
