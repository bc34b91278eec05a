"""Count in the memory of one process: a look-up, and additions to lists.

Rows are never taken away, so whoever counts the same again may keep them. Not safe for threads: all that
counts runs on the event loop.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from gateway_project.lib.metrics.names import TABLES, Table

Row = list[Any]  # of numbers
Rows = dict[tuple[str, ...], Row]

MOST_SERIES = 10_000


class Tables:
    """The counts of one process. `most_series` bounds what it tells: further rows are counted in
    `dropped`, and nowhere else."""

    def __init__(self, most_series: int = MOST_SERIES) -> None:
        self.rows: dict[str, Rows] = {table.name: {} for table in TABLES}
        self.series = 0
        self.dropped = 0
        self.is_changed = False
        self._most_series = most_series

    def row(self, table: Table, *labels: str) -> Row | None:
        """Return the row of these labels; None if there is no room for it."""
        rows = self.rows[table.name]
        found = rows.get(labels)
        if found is None and self.series + table.series <= self._most_series:
            self.series += table.series
            found = rows[labels] = [0] * len(table.columns.names)
        self.is_changed = True
        if found is None:
            self.dropped += 1
        return found

    def count(self, table: Table, *labels: str) -> None:
        """Count one more, in a table of one number."""
        row = self.row(table, *labels)
        if row is not None:
            row[0] += 1


def observe(row: Row, bounds: tuple[float, ...], value: float, at: int = 0) -> None:
    """Add a value to the histogram that begins at this place of a row."""
    row[at + bisect_left(bounds, value)] += 1
    row[at + len(bounds) + 1] += value
