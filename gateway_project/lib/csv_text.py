"""Write CSV that no spreadsheet takes for formulas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

# Spreadsheets run cells that begin so; an apostrophe makes them text.
_RUN = ("=", "+", "-", "@", "\t", "\r")


def cell(text: str) -> str:
    """Return text as a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_RUN) else text


def written(headings: Sequence[str], rows: Iterable[Sequence[Any]], amounts: int = 0) -> str:
    """Return a file of rows. The last `amounts` cells of each are numbers that we wrote, and stay as they
    are; other texts cannot become formulas."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(headings)
    for row in rows:
        place = len(row) - amounts
        texts = (cell(each) if isinstance(each, str) else each for each in row[:place])
        writer.writerow([*texts, *row[place:]])
    return file.getvalue()
