"""Count how long calls took in buckets, each 1.4 times the one before, and read percentiles from the counts.

Counts of any rows can be added, so that percentiles of an hour, a month or all tenants come from sums. They
are interpolated within their bucket, and so are off by a few per cent where calls are spread, and by at
most 40 % where all calls of a bucket took equally long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from tenants.models.rollups import BUCKETS, HISTOGRAMS, histogram_columns

GROWTH = 1.4
# The least whole milliseconds of each bucket.
LEAST_MS = (0, *(ceil(GROWTH**bucket) for bucket in range(1, BUCKETS)))
COLUMNS: dict[str, tuple[str, ...]] = {name: histogram_columns(name) for name in HISTOGRAMS}
ALL_COLUMNS = tuple(column for name in HISTOGRAMS for column in COLUMNS[name])


# Of what was not answered the time says nothing: refusals come at once, hung upstreams end at the limit.
_ANSWERED = "status IN ('completed', 'incomplete')"
_MILLISECONDS = {"duration": "duration_ms", "first_token": "ttft_ms"}


def of_rows() -> list[str]:
    """Return SQL that counts the ledger's rows of each bucket; NULL where there are none."""
    return [
        f"NULLIF(COUNT(CASE WHEN {condition} THEN 1 END), 0)" for condition in CONDITIONS.values()
    ]


def _conditions() -> dict[str, str]:
    """Return by column the SQL of which rows it counts."""
    found = {}
    for name in HISTOGRAMS:
        bounds = zip(COLUMNS[name], LEAST_MS, (*LEAST_MS[1:], None), strict=True)
        for column, least, below in bounds:
            within = _within(_MILLISECONDS[name], least, below)
            found[column] = f"{within} AND {_ANSWERED}"
    return found


def _within(column: str, least: int, below: int | None) -> str:
    bound = f"{column} >= {least}"
    return bound if below is None else f"{bound} AND {column} < {below}"


CONDITIONS = _conditions()


def counts_in(found: Mapping[str, int], name: str) -> tuple[int, ...]:
    """Return the counts of a histogram among sums by column."""
    return tuple(found[column] for column in COLUMNS[name])


def percentile(counts: Sequence[int], percent: int) -> int | None:
    """Return about how many milliseconds so many per cent of the calls took at most; None without calls."""
    total = sum(counts)
    if not total:
        return None
    wanted = max(1, ceil(total * percent / 100))
    before = 0
    for bucket, count in enumerate(counts):
        if before + count >= wanted:
            within: float = GROWTH ** (bucket + (wanted - before - 0.5) / count)
            return round(within)
        before += count
    raise AssertionError("counts add up to less than their sum")
