"""Render the figures as a table for people, Markdown for the documentation, and JSON for machines."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from bench.figures import Figure

PACKAGES = ("uvicorn", "uvloop", "httptools", "aiohttp", "orjson", "msgspec")
HEADINGS = (
    "scenario",
    "cell",
    "figure",
    "x floor",
    "gateway",
    "best",
    "target",
    "",
    "floor",
    "direct",
)
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def conditions(command: str) -> dict[str, str]:
    """Describe when, how and on what the figures were measured."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": command,
        "machine": f"{os.cpu_count()} cores ({_processor()}), {platform.system()} {_kernel()}",
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    }


def text(figures: list[Figure], under: dict[str, str]) -> str:
    """Return a table in columns."""
    rows = [HEADINGS, *map(_cells, figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["  ".join(_padded(row, widths)).rstrip() for row in rows]
    return "\n".join([*(f"{name}: {value}" for name, value in under.items()), "", *lines, ""])


def markdown(figures: list[Figure], under: dict[str, str]) -> str:
    """Return a Markdown table for the documentation."""
    rule = ("---", "---", "---", "--:", "--:", "--:", "--:", "---", "--:", "--:")
    rows = [HEADINGS, rule, *map(_cells, figures)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = "\n".join(f"* {name}: {value}" for name, value in under.items())
    return f"{notes}\n\n{table}\n"


def write_json(figures: list[Figure], under: dict[str, str], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    shown: dict[str, Any] = {
        "conditions": under,
        "figures": [dataclasses.asdict(f) | {"verdict": f.verdict} for f in figures],
    }
    path.write_bytes(orjson.dumps(shown, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def replace_table(page: Path, table: str) -> None:
    """Put the table between the two marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{table}{END}{after}", encoding="utf-8")


def _cells(figure: Figure) -> tuple[str, ...]:
    ratio = figure.times_floor
    return (
        figure.scenario,
        figure.cell,
        figure.what,
        "" if ratio is None else f"{ratio:.2f}",
        "not available" if figure.gateway is None else _amount(figure.gateway, figure.unit),
        _amount(figure.best, figure.unit),
        _target(figure),
        figure.verdict,
        _amount(figure.floor, figure.unit),
        _amount(figure.direct, figure.unit),
    )


def _target(figure: Figure) -> str:
    if figure.at_most is None:
        return ""
    floors = "" if figure.most_floors is None else f", {figure.most_floors:.1f} x"
    return f"≤ {figure.at_most:g} {figure.unit}".rstrip() + floors


def _amount(value: float | None, unit: str) -> str:
    """Return three significant digits and the unit; rates need none, as the figure's name says it."""
    if value is None:
        return ""
    if unit in {"", "/s"}:
        return f"{value:,.0f}"
    return f"{value:.3f} {unit}" if value < 10 else f"{value:.1f} {unit}"


def _padded(row: Iterable[str], widths: list[int]) -> list[str]:
    """Align words left, figures right."""
    return [
        cell.ljust(width) if column < 3 or column == 7 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _kernel() -> str:
    return ".".join(platform.release().split(".")[:2])
