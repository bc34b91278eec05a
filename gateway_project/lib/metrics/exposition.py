"""Write metrics in Prometheus's text format 0.0.4, or in OpenMetrics 1.0.0 for whoever asks for that."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from gateway_project.lib.metrics.names import COUNTED, DROPPED, FOUND, TABLES, Family, Table
from gateway_project.lib.metrics.tables import Rows

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Found = Mapping[str, Iterable[tuple[tuple[str, ...], float]]]

_DECLARED_TOTAL = re.compile(rb"^(# (?:HELP|TYPE) \w+)_total( )", re.MULTILINE)
_TABLES: dict[str, Table] = {table.name: table for table in TABLES}
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def format_for(accept: str) -> str:
    """Return the format, by its content type, for an `Accept` header: text unless OpenMetrics is named and
    not liked less."""
    liked = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for one in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in one.split(";"))
        if kind in liked:
            liked[kind] = max(liked[kind], _quality(parameters))
    is_open = liked["application/openmetrics-text"] >= max(liked["text/plain"], 0.001)
    return OPEN_METRICS if is_open else TEXT


def _quality(parameters: Iterable[str]) -> float:
    given = next((text[2:] for text in parameters if text.startswith("q=")), "1")
    try:
        return float(given)
    except ValueError:
        return 0.0


def in_open_metrics(text: bytes) -> bytes:
    """Return the same metrics in OpenMetrics: counters are declared without their `_total`, and the end is
    marked. https://prometheus.io/docs/specs/om/open_metrics_spec/"""
    return _DECLARED_TOTAL.sub(rb"\1\2", text) + b"# EOF\n"


def render(rows: Mapping[str, Rows], dropped: int, found: Found, views: frozenset[str]) -> bytes:
    """Return all families that have anything. `found`: values by name, each with its labels; `views`: what
    was asked for beside the usual."""
    lines: list[str] = []
    for family in COUNTED:
        if family.view and family.view not in views:
            continue
        table = _TABLES[family.table]
        of_table = rows.get(table.name) or {}
        if of_table:
            lines += _head(family)
            lines += _counted(family, table, of_table)
    lines += [*_head(DROPPED), f"{DROPPED.name} {dropped}"]
    for family in FOUND:
        values = list(found.get(family.name, ()))
        if values:
            lines += _head(family)
            lines += [
                f"{family.name}{_labels(family.labels, labels)} {_number(value)}"
                for labels, value in values
            ]
    return ("\n".join(lines) + "\n").encode()


def _head(family: Family) -> tuple[str, str]:
    words = family.help.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {family.name} {words}", f"# TYPE {family.name} {family.kind}"


def _counted(family: Family, table: Table, rows: Rows) -> Iterator[str]:
    if family.kind == "histogram":
        return _histogram(family, table, rows)
    return _counters(family, table, rows)


def _counters(family: Family, table: Table, rows: Rows) -> Iterator[str]:
    columns = table.columns.names
    if not family.spread:
        place = columns.index(family.column)
        for labels, row in sorted(rows.items()):
            yield f"{family.name}{_labels(family.labels, labels)} {_number(row[place] * family.scale)}"
        return
    places = [(value, columns.index(value)) for value in family.spread]
    for labels, row in sorted(rows.items()):
        for value, place in places:
            if row[place]:
                told = _labels(family.all_labels, (*labels, value))
                yield f"{family.name}{told} {_number(row[place] * family.scale)}"


def _histogram(family: Family, table: Table, rows: Rows) -> Iterator[str]:
    at = table.columns.names.index(f"{family.column} <=inf")
    bounds = dict(table.columns.histograms)[family.column]
    first = at - len(bounds)
    for labels, row in sorted(rows.items()):
        if not any(row[first : at + 1]):
            continue
        told = _labels(family.labels, labels)
        opening = f"{told[:-1]}," if told else "{"
        count = 0
        for place, bound in enumerate((*bounds, float("inf"))):
            count += row[first + place]
            yield f'{family.name}_bucket{opening}le="{_bound(bound)}"}} {count}'
        yield f"{family.name}_sum{told} {_number(row[at + 1])}"
        yield f"{family.name}_count{told} {count}"


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(bound)


def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    """Return labels as Prometheus reads them. An empty value is no label, so it is left out."""
    told = [
        f'{name}="{value.translate(_ESCAPES)}"'
        for name, value in zip(names, values, strict=True)
        if value
    ]
    return "{" + ",".join(told) + "}" if told else ""


def _number(value: float) -> str:
    return repr(value) if isinstance(value, int) else f"{value:.12g}"
