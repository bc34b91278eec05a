"""Add up usage by buckets of time and groups, in one statement: sums of days and hours, and rows where an
hour is cut.

One statement sees one state of the database, so that the totals of groups and those of buckets agree while
sums are computed anew. By key alone it reads the days by key, by key and model the sums by both, by end user
the ledger's rows or where asked the sums by end user, and else the sums by model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection

from tenants.billing import histograms, sum_sql
from tenants.billing.instants import floor_hour
from tenants.models import (
    EndUserDay,
    EndUserHour,
    KeyDay,
    ModelDay,
    ModelHour,
    RefusalHour,
    UsageDay,
    UsageHour,
    UsageRow,
)
from tenants.reports import buckets
from tenants.reports.buckets import DAY, Grain, Segment, Span

# What is added up of a row or sum, beside counts: tokens as people speak of them, and amounts.
TOKENS: Mapping[str, str] = {
    "input": "input_fresh + input_audio",
    "cached": "cache_read",
    "written": "cache_write + cache_write_long",
    "output": "output_visible + output_audio",
    "reasoning": "output_reasoning",
}
AMOUNTS = ("charge_nano", "cost_nano", "saved_nano")
FIGURES = (*sum_sql.COUNTS, *sum_sql.ENDINGS, *TOKENS, *AMOUNTS)
LARGEST = 7
MAX_GROUPS = 1_000
# The columns that are grouped and filtered by; the names are those of addresses.
COLUMNS: Mapping[str, str] = {
    "tenant": "tenant_id",
    "key": "key_public_id",
    "alias": "alias",
    "model": "upstream_model",
    "provider": "provider",
    "end_user": "end_user",
}
_ROWS = (UsageRow._meta.db_table, "opened_at")
_BY_MODEL = {"day": ModelDay._meta.db_table, "hour": ModelHour._meta.db_table}
_BY_KEY_ALONE = {"day": KeyDay._meta.db_table, "hour": UsageHour._meta.db_table}
_BY_KEY = {"day": UsageDay._meta.db_table, "hour": UsageHour._meta.db_table}
_BY_END_USER = {"day": EndUserDay._meta.db_table, "hour": EndUserHour._meta.db_table}
_ONE_A_DAY = {("key", KeyDay._meta.db_table), ("end_user", EndUserDay._meta.db_table)}
_NOTHING = dict.fromkeys(FIGURES, 0)


@dataclass(frozen=True, slots=True)
class SumQuery:
    """Say what to add up: in buckets that are these `spans`, of these tenants (None: of all), of rows with
    the values in `filters`, in groups `by` one of COLUMNS. `histograms` are added up beside FIGURES. Rows
    from before `kept_from` may be gone. `sums_end_users`: by end user alone sums are read, of which a group
    None has those that are not told apart."""

    spans: tuple[Span, ...]
    tenants: frozenset[int] | None = None
    by: str | None = None
    filters: Mapping[str, str] = field(default_factory=dict)
    histograms: Sequence[str] = ()
    kept_from: datetime | None = None
    sums_end_users: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Return the figures in the order of the result. Only rows and sums by model know how calls ended."""
        is_without = self.is_by_key or self.is_of_end_users
        known = [name for name in FIGURES if not (is_without and name in sum_sql.ENDINGS)]
        return (*known, *(name for each in self.histograms for name in histograms.COLUMNS[each]))

    @property
    def is_of_end_users(self) -> bool:
        """Tell whether the sums by end user are read."""
        return self.sums_end_users and {self.by, *self.filters} == {"end_user"}

    @property
    def is_of_rows(self) -> bool:
        return "end_user" in {self.by, *self.filters} and not self.is_of_end_users

    @property
    def is_by_key(self) -> bool:
        subjects = {self.by, *self.filters}
        return "key" in subjects and "end_user" not in subjects

    def table(self, grain: Grain) -> tuple[str, str]:
        """Return the table with sums of this grain, and its column of time."""
        if grain == "row" or self.is_of_rows:
            return _ROWS
        if self.is_of_end_users:
            return _BY_END_USER[grain], "starts_at"
        if not self.is_by_key:
            return _BY_MODEL[grain], "starts_at"
        is_alone = {"key", "tenant"}.issuperset({self.by or "key", *self.filters})
        return (_BY_KEY_ALONE if is_alone else _BY_KEY)[grain], "starts_at"


Figures = dict[str, int]
ByBucket = dict[tuple[int, Any], Figures]
_Line = tuple[int, int, Any, Figures]  # its kind, a place or bucket, its group
_OF_GROUP, _OF_BUCKET, _EVERY_GROUP, _FIRST_COUNT = 0, 1, 2, 3
Count = tuple[str, list[Any]]  # SQL of a number, a name and a count, with its parameters


@dataclass(frozen=True, slots=True)
class Added:
    """The figures of all groups, the largest first and at most MAX_GROUPS of them; and by bucket those of
    the LARGEST, with None for all others together. `rest` are those that sums do not tell apart."""

    groups: list[tuple[Any, Figures]]
    buckets: ByBucket
    rest: Figures | None = None


@dataclass(frozen=True, slots=True)
class Together:
    """Answers of one statement: a series, every group of another query, and counts."""

    series: Added
    every_group: ByBucket
    counts: list[dict[tuple[int, Any], int]]


def add_up(query: SumQuery) -> Added:
    """Add up by group, and by bucket what the largest groups have."""
    return _added(_run(query.names, *_of_largest(query)))


def every_group(query: SumQuery) -> ByBucket:
    """Add up by bucket and group, however many groups there are."""
    return _grouped(_run(query.names, *_of_all(query)))


def add_up_together(query: SumQuery, beside: SumQuery, *counts: Count) -> Together:
    """Answer several questions in one statement, so that all see one state of the database: a series, every
    group of a second query, which has all figures of the first and maybe histograms, and counts."""
    largest, parameters = _of_largest(query)
    everything, more = _of_all(beside)
    nothing = ", NULL" * (len(beside.names) - len(query.names))
    parts = [f"SELECT a.*{nothing} FROM ({largest}) a", everything]  # noqa: S608
    parameters = [*parameters, *more]
    for place, (sql, given) in enumerate(counts):
        rest = ", NULL" * (len(beside.names) - 1)
        parts.append(f"SELECT {_FIRST_COUNT + place}, c.*{rest} FROM ({sql}) c")  # noqa: S608
        parameters += given
    found: dict[int, list[_Line]] = {}
    for line in _run(beside.names, " UNION ALL ".join(parts), parameters):
        found.setdefault(line[0], []).append(line)
    own = [*found.get(_OF_GROUP, ()), *found.get(_OF_BUCKET, ())]
    counted = [
        {(number, group): figures[beside.names[0]] for _, number, group, figures in lines}
        for lines in (found.get(_FIRST_COUNT + place, ()) for place in range(len(counts)))
    ]
    return Together(_added(own), _grouped(found.get(_EVERY_GROUP, ())), counted)


def count_refusals(spans: Sequence[Span], tenants: frozenset[int] | None) -> Count:
    """Return what counts refused requests by the place of a span: by the hour in which they came."""
    values, parameters = _values(
        (str(place), start, end) for place, (start, end) in enumerate(spans)
    )
    table = RefusalHour._meta.db_table
    where = f"starts_at >= s.first AND starts_at < s.past{_of_tenants(tenants)}"
    sql = (
        f"SELECT s.bucket, '', SUM(refusals) FROM {values} CROSS JOIN {table} "  # noqa: S608
        f"WHERE {where} GROUP BY 1"
    )
    return sql, parameters


def count_failures(since: datetime, code: str, tenants: frozenset[int] | None) -> Count:
    """Return what counts calls that failed with a code, by tenant and provider."""
    adapt = connection.ops.adapt_datetimefield_value
    # Along the index of what was not completed.
    sql = (
        f"SELECT tenant_id, provider, COUNT(*) FROM {UsageRow._meta.db_table} "  # noqa: S608
        f"WHERE NOT (status = 'completed') AND opened_at >= %s AND error_code = %s"
        f"{_of_tenants(tenants)} GROUP BY 1, 2"
    )
    return sql, [adapt(since), code]


def _of_tenants(tenants: frozenset[int] | None) -> str:
    return "" if tenants is None else f" AND tenant_id IN ({', '.join(map(str, sorted(tenants)))})"


def _values(spans: Iterable[tuple[str, datetime, datetime]]) -> tuple[str, list[Any]]:
    """Return the SQL of a table of spans `s`, with the columns bucket, first and past."""
    adapt = connection.ops.adapt_datetimefield_value
    rows, parameters = [], []
    for bucket, start, end in spans:
        rows.append(f"({bucket}, %s, %s)")
        parameters += [adapt(start), adapt(end)]
    listed = ", ".join(rows)
    return f"(WITH v (bucket, first, past) AS (VALUES {listed}) SELECT * FROM v) s", parameters  # noqa: S608


def _added(found: Iterable[_Line]) -> Added:
    groups: list[tuple[int, Any, Figures]] = []
    by_bucket: ByBucket = {}
    for kind, number, group, figures in found:
        if kind == _OF_BUCKET:
            by_bucket[number, group] = figures
        else:
            groups.append((number, group, figures))
    ordered = sorted(groups, key=lambda one: one[0])
    named = [(group, figures) for _, group, figures in ordered if group is not None]
    rest = next((figures for _, group, figures in groups if group is None), None)
    return Added(named, by_bucket, rest)


def _grouped(found: Iterable[_Line]) -> ByBucket:
    return {(bucket, group): figures for _, bucket, group, figures in found}


def _run(names: Sequence[str], sql: str, parameters: list[Any]) -> Iterator[_Line]:
    """Return the lines in which anything was used. Figures that are not asked for are 0."""
    is_postgres = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        # Compiling so many expressions takes PostgreSQL longer than running them.
        cursor.execute(f"SET LOCAL jit = off; {sql}" if is_postgres else sql, parameters)
        if is_postgres:
            cursor.nextset()
        for kind, number, group, *values in cursor.fetchall():
            if any(values):
                whole = [int(value) if value else 0 for value in values]
                yield kind, number, group, {**_NOTHING, **dict(zip(names, whole, strict=True))}


def _of_largest(query: SumQuery) -> tuple[str, list[Any]]:
    """Return the SQL of groups and of buckets. All names in it are constants of this package."""
    by_bucket, parameters = _by_bucket(query)
    names = ", ".join(query.names)
    sums = ", ".join(f"SUM({name}) AS {name}" for name in query.names)
    tokens = " + ".join(f"SUM({name})" for name in TOKENS)
    added = ", ".join(f"SUM(g.{name})" for name in query.names)
    sql = (
        f"WITH g AS MATERIALIZED ({by_bucket}), "  # noqa: S608
        f"t AS MATERIALIZED (SELECT grp, {sums}, ROW_NUMBER() OVER "
        "(ORDER BY CASE WHEN grp IS NULL THEN 1 ELSE 0 END, "
        f"SUM(charge_nano) DESC, {tokens} DESC, SUM(requests) DESC, grp) AS place "
        "FROM g GROUP BY grp) "
        f"SELECT {_OF_GROUP}, place, grp, {names} FROM t "
        f"WHERE place <= {MAX_GROUPS} OR grp IS NULL UNION ALL "
        f"SELECT {_OF_BUCKET}, g.bucket, CASE WHEN t.place <= {LARGEST} THEN g.grp END, {added} "
        "FROM g LEFT JOIN t ON t.grp = g.grp GROUP BY 1, 2, 3"
    )
    return sql, parameters


def _of_all(query: SumQuery) -> tuple[str, list[Any]]:
    """Return the SQL of every group by bucket."""
    by_bucket, parameters = _by_bucket(query)
    names = ", ".join(query.names)
    return f"SELECT {_EVERY_GROUP}, bucket, grp, {names} FROM ({by_bucket}) g", parameters  # noqa: S608


def _by_bucket(query: SumQuery) -> tuple[str, list[Any]]:
    """Return the SQL of the figures by bucket and group, and its parameters."""
    by_place: dict[tuple[tuple[str, str], int], list[Segment]] = {}
    for segment in _segments(query):
        by_place.setdefault((query.table(segment.grain), segment.sign), []).append(segment)
    parts, parameters = [], []
    for (table, sign), found in by_place.items():
        part, given = _part(query, table, sign, found)
        parts.append(part)
        parameters += given
    if len(parts) == 1:
        return parts[0], parameters
    sums = ", ".join(f"SUM({name}) AS {name}" for name in query.names)
    union = " UNION ALL ".join(parts)
    return f"SELECT bucket, grp, {sums} FROM ({union}) p GROUP BY bucket, grp", parameters  # noqa: S608


def _segments(query: SumQuery) -> list[Segment]:
    if query.is_of_rows:
        return buckets.undivided(query.spans)
    kept = query.kept_from
    if kept is None:
        return buckets.segments(query.spans)
    # An hour that is cut, and of which the rows may be gone, counts as a whole.
    whole = (tuple(at if at >= kept else floor_hour(at) for at in span) for span in query.spans)
    return buckets.segments((start, end) for start, end in whole)


def _part(
    query: SumQuery, table: tuple[str, str], sign: int, found: Iterable[Segment]
) -> tuple[str, list[Any]]:
    """Return the SQL that adds up one table's segments, and its parameters."""
    name = table[0]
    found = list(found)
    values, parameters = _values((str(one.bucket), one.start, one.end) for one in found)
    minus = "-" if sign < 0 else ""
    sums = ", ".join(
        f"{minus}SUM({_figure(each, is_rows=table == _ROWS)}) AS {each}" for each in query.names
    )
    group = "''" if query.by is None else COLUMNS[query.by]
    where = _within(table, query.tenants)
    for parameter, value in query.filters.items():
        where += f" AND {COLUMNS[parameter]} = %s"
        parameters.append(value)
    # Each span is to be a range of an index: SQLite keeps the order of a cross join, and PostgreSQL, whose
    # planner cannot guess how few rows a span has, runs what is lateral once for each.
    if _is_one_each(query, name, found):
        plain = ", ".join(
            f"{minus}{_figure(each, is_rows=False)} AS {each}" for each in query.names
        )
        if connection.vendor == "postgresql":
            inner = f"SELECT {group} AS grp, {plain} FROM {name} WHERE {where} OFFSET 0"  # noqa: S608
            return f"SELECT s.bucket, x.* FROM {values} CROSS JOIN LATERAL ({inner}) x", parameters  # noqa: S608
        sql = (
            f"SELECT s.bucket AS bucket, {group} AS grp, {plain} "  # noqa: S608
            f"FROM {values} CROSS JOIN {name} WHERE {where}"
        )
        return sql, parameters
    if connection.vendor == "postgresql":
        inner = f"SELECT {group} AS grp, {sums} FROM {name} WHERE {where} GROUP BY 1"  # noqa: S608
        added = ", ".join(f"SUM({each}) AS {each}" for each in query.names)
        sql = (
            f"SELECT s.bucket AS bucket, x.grp AS grp, {added} FROM {values} "  # noqa: S608
            f"CROSS JOIN LATERAL ({inner}) x GROUP BY 1, 2"
        )
        return sql, parameters
    sql = (
        f"SELECT s.bucket AS bucket, {group} AS grp, {sums} "  # noqa: S608
        f"FROM {values} CROSS JOIN {name} WHERE {where} GROUP BY 1, 2"
    )
    return sql, parameters


def _within(table: tuple[str, str], tenants: frozenset[int] | None) -> str:
    """Return the condition for what lies in a span, of these tenants."""
    column = table[1]
    is_postgres = connection.vendor == "postgresql"
    if not is_postgres or table != _ROWS or tenants is None or len(tenants) != 1:
        return f"{column} >= s.first AND {column} < s.past{_of_tenants(tenants)}"
    # Of a span whose bounds it does not know PostgreSQL guesses that it is short, and reads the rows of all
    # tenants along the index by time. Said of both columns, only the index by tenant and time fits.
    both, tenant = f"(tenant_id, {column})", next(iter(tenants))
    return f"{both} >= ({tenant:d}, s.first) AND {both} < ({tenant:d}, s.past)"


def _is_one_each(query: SumQuery, name: str, found: Sequence[Segment]) -> bool:
    """Tell whether a table has one row for each bucket and group, which need not be sorted to be added up."""
    is_day = all(one.end - one.start <= DAY for one in found)
    return is_day and (query.by, name) in _ONE_A_DAY


def _figure(name: str, *, is_rows: bool) -> str:
    """Return the SQL of a figure of a row or sum."""
    if name in TOKENS:
        return sum_sql.quantity(TOKENS[name]) if is_rows else TOKENS[name]
    if not is_rows or name in AMOUNTS:
        return name
    if name in histograms.CONDITIONS:
        return f"CASE WHEN {histograms.CONDITIONS[name]} THEN 1 ELSE 0 END"
    return sum_sql.number(name)
