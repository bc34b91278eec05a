"""Lay out what commands print for people: tables, and fields line by line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

WIDEST = 60
_FRACTION = re.compile(r"(?<=^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d+(?=Z$)")  # of a second
NANO, CENTS = 10**9, 100


def cell(name: str, value: Any) -> str:
    """Return a value as people read it; amounts, told by the name of their field, in dollars."""
    if value is None or value in ("", [], {}):
        return "-"
    match value:
        case bool():
            return "yes" if value else "no"
        case int() if name.endswith("_nano"):
            return _dollars(value, NANO, 9)
        case int() if name.endswith("_cents"):
            return _dollars(value, CENTS, 2)
        case list() if all(isinstance(each, str | int) for each in value):
            return ",".join(cell(name, each) if isinstance(each, int) else each for each in value)
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
    return _FRACTION.sub("", " ".join(str(value).split())) or "-"


def heading(name: str) -> str:
    """Return the name of a field without what its amount is counted in."""
    return name.removesuffix("_nano").removesuffix("_cents")


def table(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    """Return aligned columns with a line of their names above."""
    lines = [[heading(name) for name in columns]]
    lines += [[_cut(row.get(name, "-")) for name in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def fields(told: Mapping[str, str]) -> str:
    """Return `field: value` line by line."""
    return "\n".join(f"{heading(name)}: {text}" for name, text in told.items())


def _cut(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


def _dollars(amount: int, unit: int, digits: int) -> str:
    """Format an amount with every digit it has, and at least two."""
    whole, rest = divmod(abs(amount), unit)
    told = f"{rest:0{digits}}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount < 0 else ''}{whole}.{told}"
