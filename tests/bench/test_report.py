"""The table shows what was measured, and nothing that was not."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from bench import meters, report
from bench.figures import Figure, quantile
from tests.plugins.cases import cases

UNDER = {"date": "2026-11-21", "command": "python -m bench"}
CHEAP = Figure("json 1 KB", "chat", "CPU per request", "ms", 0.15, floor=0.1, at_most=0.2)
DEAR = Figure(
    "json 1 KB", "responses", "CPU per request", "ms", 0.25, floor=0.1, at_most=0.2, best=0.24
)
UNKNOWN = Figure("json 1 KB", "chat", "instructions per request", "M", None, at_most=1.4)


def test_a_figure_is_judged_by_its_target() -> None:
    assert [figure.verdict for figure in (CHEAP, DEAR, UNKNOWN)] == ["ok", "over", ""]


def test_on_a_slower_machine_a_figure_is_judged_by_its_floor_too() -> None:
    slow = replace(DEAR, floor=0.2, floor_then=0.1)
    assert [one.verdict for one in (slow, replace(slow, gateway=0.5))] == ["ratio ok", "over"]
    assert "| ≤ 0.2 ms, 2.0 x | ratio ok |" in report.markdown([slow], UNDER)


def test_what_could_not_be_measured_is_not_available() -> None:
    assert "| not available |  | ≤ 1.4 M |" in report.markdown([UNKNOWN], UNDER)


def test_the_table_holds_figure_target_verdict_floor_and_ratio() -> None:
    row = report.markdown([DEAR], UNDER).splitlines()[-1]
    assert row == (
        "| json 1 KB | responses | CPU per request | 2.50 | 0.250 ms | 0.240 ms | ≤ 0.2 ms | over "
        "| 0.100 ms |  |"
    )


def test_a_page_keeps_everything_but_its_table(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.replace_table(page, "new\n")
    assert page.read_text() == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"


def test_the_json_file_holds_every_figure(tmp_path: Path) -> None:
    path = tmp_path / "var" / "bench.json"
    report.write_json([CHEAP, UNKNOWN], UNDER, path)
    written = json.loads(path.read_text())
    assert written["conditions"] == UNDER
    assert [found["gateway"] for found in written["figures"]] == [0.15, None]


@cases(
    ("printed", "count"),
    [
        ("1234567,,instructions:u,100200,100.00,,\n", 1234567.0),
        ("<not supported>,,instructions:u,0,100.00,,\n", None),
        ("<not counted>,,instructions:u,0,0.00,,\n", None),
        ("Error: no permission\n", None),
    ],
)
def test_perf_counts_or_says_that_it_cannot(printed: str, count: float | None) -> None:
    assert meters.counted(printed) == count


def test_a_process_has_a_clock_and_a_size() -> None:
    assert meters.cpu_seconds(os.getpid()) > 0
    assert meters.rss_megabytes(os.getpid()) > 1


def test_a_quantile_lies_within_the_values() -> None:
    assert quantile(list(range(101)), 99) == 99
