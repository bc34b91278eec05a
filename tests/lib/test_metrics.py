"""Counting, adding up what several processes counted, and writing it for Prometheus."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway_project.lib.metrics import names, snapshots
from gateway_project.lib.metrics.exposition import (
    OPEN_METRICS,
    format_for,
    in_open_metrics,
    render,
)
from gateway_project.lib.metrics.process import use_of
from gateway_project.lib.metrics.snapshots import SnapshotFile, as_snapshot, encode
from gateway_project.lib.metrics.tables import Rows, Tables, observe
from tests.plugins.cases import cases

REQUEST = "chat", "m", "completed"


def counted(times: int, *labels: str) -> Tables:
    tables = Tables()
    for _ in range(times):
        tables.count(names.REQUESTS, *(labels or REQUEST))
    return tables


def live(directory: Path, tables: Tables) -> SnapshotFile:
    """A process that has written what it counted, and lives."""
    file = SnapshotFile(directory, "worker")
    file.write(encode(as_snapshot(tables, kind="worker")))
    return file


def requests(directory: Path, most_series: int = 10_000) -> int | float:
    return sum(row[0] for row in snapshots.add_up(directory, most_series).rows["requests"].values())


def lines(rows: dict[str, Rows], *views: str) -> list[str]:
    return render(rows, 0, {}, frozenset(views)).decode().splitlines()


def test_counts_of_dead_processes_stay_and_are_added_once(tmp_path: Path) -> None:
    first, second = live(tmp_path, counted(3)), live(tmp_path, counted(4))
    assert requests(tmp_path) == 7
    first.close()
    assert [requests(tmp_path) for _ in range(3)] == [7, 7, 7]
    third = live(tmp_path, counted(5))
    second.close()
    assert requests(tmp_path) == 12
    third.close()
    assert requests(tmp_path) == 12
    assert [path.name for path in tmp_path.glob("worker-*")] == []


def test_nothing_is_added_twice_where_adding_up_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(tmp_path, counted(3)).close()

    def die(path: Path, *, missing_ok: bool) -> None:
        raise InterruptedError

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", die)
        with pytest.raises(InterruptedError):
            requests(tmp_path)
    assert list(tmp_path.glob("worker-*"))
    assert requests(tmp_path) == 3
    assert requests(tmp_path) == 3


def test_a_process_that_wrote_nothing_yet_leaves_nothing(tmp_path: Path) -> None:
    SnapshotFile(tmp_path, "worker").close()
    assert requests(tmp_path) == 0
    assert list(tmp_path.glob("worker-*")) == []


def test_a_file_that_cannot_be_read_costs_nobody_the_others(tmp_path: Path) -> None:
    kept, broken = live(tmp_path, counted(3)), SnapshotFile(tmp_path, "worker")
    broken.write(b"\xc1 no snapshot")
    assert requests(tmp_path) == 3
    (tmp_path / f".new-{broken.name}.snapshot").write_bytes(b"killed while it wrote")
    broken.close()
    assert requests(tmp_path) == 3
    assert list(tmp_path.glob(f"*{broken.name}*")) == []
    kept.close()


def test_a_file_of_another_version_is_read_by_the_names_of_its_columns(tmp_path: Path) -> None:
    tables = Tables()
    row = tables.row(names.CALLS, "m", "p")
    assert row is not None
    row[names.CALLS.columns.names.index("cost")] = 5
    snapshot = as_snapshot(tables, kind="worker")
    table = snapshot.tables["calls"]
    table.columns = ("of the future", *reversed(table.columns))
    table.rows = [(labels, [99, *reversed(numbers)]) for labels, numbers in table.rows]
    file = SnapshotFile(tmp_path, "worker")
    file.write(encode(snapshot))
    rows = snapshots.add_up(tmp_path).rows
    assert 'tollgate_cost_dollars_total{alias="m",provider="p"} 5e-09' in lines(rows)
    file.close()


def test_names_that_are_long_gone_make_room_and_those_in_use_stay(tmp_path: Path) -> None:
    for alias in ("old", "older", "used"):
        live(tmp_path, counted(1, "chat", alias, "completed")).close()
        snapshots.add_up(tmp_path)
    kept = live(tmp_path, counted(1, "chat", "used", "completed"))
    live(tmp_path, counted(1, "chat", "new", "completed")).close()
    found = snapshots.add_up(tmp_path, most_series=2).rows["requests"]
    assert {labels[1]: row[0] for labels, row in found.items()} == {"used": 2, "new": 1}
    kept.close()


def test_what_is_beyond_the_most_series_is_dropped_and_counted() -> None:
    tables = Tables(most_series=2)
    for alias in ("a", "b", "c", "c", "a"):
        tables.count(names.REQUESTS, "chat", alias, "completed")
    assert (tables.series, tables.dropped) == (2, 2)
    assert {labels[1]: row[0] for labels, row in tables.rows["requests"].items()} == {
        "a": 2,
        "b": 1,
    }


def test_labels_are_escaped_and_empty_ones_left_out() -> None:
    tables = counted(1, "chat", 'a"b\\c\nd', "completed")
    tables.count(names.CACHE, "", "hit")
    found = lines(tables.rows)
    assert r'tollgate_requests_total{route="chat",alias="a\"b\\c\nd",status="completed"} 1' in found
    assert 'tollgate_cache_total{result="hit"} 1' in found


def test_buckets_count_what_is_at_most_their_bound() -> None:
    tables = Tables()
    row = tables.row(names.OVERHEAD, "chat")
    assert row is not None
    for seconds in (0.0002, 0.0003, 7.0):
        observe(row, names.OVERHEAD_SECONDS, seconds)
    found = lines(tables.rows)
    name = "tollgate_overhead_seconds"
    assert f'{name}_bucket{{route="chat",le="0.0002"}} 1' in found
    assert f'{name}_bucket{{route="chat",le="0.0005"}} 2' in found
    assert f'{name}_bucket{{route="chat",le="5.0"}} 2' in found
    assert f'{name}_bucket{{route="chat",le="+Inf"}} 3' in found
    assert f'{name}_count{{route="chat"}} 3' in found
    assert f'{name}_sum{{route="chat"}} 7.0005' in found


def test_each_name_stands_once_and_says_what_it_is() -> None:
    found = [family.name for family in names.FAMILIES]
    assert len(found) == len(set(found))
    for family in names.FAMILIES:
        assert (family.kind == "counter") == family.name.endswith("_total")
        assert family.help.endswith(".")
        if family.table:
            table = next(each for each in names.TABLES if each.name == family.table)
            assert family.labels == table.labels
            columns = family.spread or (family.column,)
            known = {*table.columns.counters, *(name for name, _ in table.columns.histograms)}
            assert set(columns) <= known


def test_tokens_are_counted_in_the_classes_of_the_ledger() -> None:
    from tenants.token_classes import TOKEN_CLASSES  # noqa: PLC0415  # lib knows no tenants

    assert names.TOKENS == TOKEN_CLASSES


def test_the_kernel_knows_what_this_process_takes() -> None:
    use = use_of(os.getpid())
    assert use is not None
    assert use.resident_bytes > 1_000_000
    assert use.cpu_seconds > 0
    assert use_of(2**22 + 1) is None


PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@cases(
    ("accept", "is_open"),
    [
        (PROMETHEUS, True),
        ("application/openmetrics-text", True),
        ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.3", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=x", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_open_metrics_is_told_to_who_asks_for_it(accept: str, is_open: bool) -> None:
    assert (format_for(accept) == OPEN_METRICS) is is_open


def test_open_metrics_declares_counters_without_total_and_says_where_it_ends() -> None:
    tables = counted(3)
    text = render(tables.rows, 0, {}, frozenset())
    written = in_open_metrics(text).decode().splitlines()
    name = "tollgate_requests"
    assert f"# TYPE {name} counter" in written
    assert [line.partition(" ")[2] for line in written if line.startswith(f"{name}_total")] == ["3"]
    assert written[-1] == "# EOF"
    # Nothing else differs.
    told = [line for line in text.decode().splitlines() if not line.startswith("# ")]
    assert told == [line for line in written if not line.startswith("# ")]
