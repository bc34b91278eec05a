"""Measure what metrics cost: counting a call that has ended, looking whether anything changed, writing a
snapshot, and telling all of it.

Processor time, in batches, of which the median counts. It is a program of its own because it needs Django's
settings; `python -m bench` runs it and reads its JSON.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson

from bench.planning import microseconds

SERIES = 10_000


class _Counting:
    """A call of one attempt that was answered, counted again and again."""

    def __init__(self, *, gen_ai: bool = False, tenants: bool = False) -> None:
        from gateway_project.lib.metrics.tables import Tables  # noqa: PLC0415  # after the settings
        from responses_api.accounting.call_metrics import CallMetrics  # noqa: PLC0415
        from responses_api.calls.admission import GenerationRequest  # noqa: PLC0415
        from responses_api.calls.ending import count_request  # noqa: PLC0415
        from responses_api.calls.outcome import unbilled_outcome  # noqa: PLC0415
        from responses_api.doors.registry import RESPONSES  # noqa: PLC0415

        metrics = CallMetrics(Tables(), gen_ai=gen_ai)
        metrics.tenants = {1: "acme"} if tenants else None
        known: Any = GenerationRequest("req_1", RESPONSES, {})
        known.caller = SimpleNamespace(tenant_id=1)  # all that is asked of it
        outcome = unbilled_outcome(200, 0.8)
        self.count = partial(
            count_request, _with(metrics), known, outcome, None, [_answered_call()]
        )


def _with(metrics: Any) -> Any:
    return SimpleNamespace(metrics=metrics)


def _answered_call() -> Any:
    from tenants.ledger.records import Settled  # noqa: PLC0415  # after the settings

    record = Settled(
        id="x", status="completed", usage_source="provider", tokens=(900, 0, 4000, 0, 0, 400, 0, 200),
        cost_nano=12_000, charges_nano=(1,) * 8, duration_ms=800, unfunded_nano=0, waived_nano=0,
        usage_anomaly=False, http_status=200, error_code="", service_tier="", ttft_ms=310,
        overhead_us=180, units=(), guardrail_outcome="", cache_outcome="",
    )  # fmt: skip
    return SimpleNamespace(
        record=record, provider="openai", upstream_model="m", is_at_tenants=False,
        is_streamed=True, charge_nano=12_000,
    )  # fmt: skip


class _Full:
    """A worker with as many series as it may have, half of them in histograms."""

    def __init__(self, folder: Path) -> None:
        from gateway_project.lib.metrics import names, snapshots  # noqa: PLC0415
        from gateway_project.lib.metrics.exposition import render  # noqa: PLC0415
        from gateway_project.lib.metrics.tables import Tables  # noqa: PLC0415

        tables, number = Tables(SERIES), 0
        while not tables.dropped:
            number += 1
            for table, labels in (
                (names.CALLS, (f"alias-{number}", "provider")),
                (names.REQUESTS, ("responses", f"alias-{number}", "completed")),
            ):
                row = tables.row(table, *labels)
                for place in range(len(row or ())):
                    row[place] = number * 1000 + place  # type: ignore[index]  # there is one
        self._file = snapshots.SnapshotFile(folder, "worker")
        self._tables, self._snapshots, self._render, self._folder = (
            tables, snapshots, render, folder,
        )  # fmt: skip
        self.write()

    def encode(self) -> bytes:
        return self._snapshots.encode(self._snapshots.as_snapshot(self._tables, kind="worker"))

    def write(self) -> None:
        self._file.write(self.encode())

    def tell(self) -> bytes:
        sums = self._snapshots.add_up(self._folder)
        return self._render(sums.rows, sums.dropped, {}, frozenset())


def _at_rest(folder: Path) -> float:
    """Return what a second takes in which nothing happens."""
    from gateway_project.lib.metrics.tables import Tables  # noqa: PLC0415  # after the settings
    from gateway_project.serving.metrics_writer import MetricsWriter  # noqa: PLC0415
    from responses_api.accounting.call_metrics import CallMetrics  # noqa: PLC0415
    from responses_api.process.registry import Registry  # noqa: PLC0415
    from routing.health.table import LaneTable  # noqa: PLC0415

    metrics, ready = CallMetrics(Tables()), {"database": True, "spool": True, "accepting": True}
    writer = MetricsWriter(
        folder,
        metrics,
        Registry(),
        LaneTable(),
        lambda: dict(ready),
        tenants=0,
        most_series=10_000,
    )

    async def rest() -> float:
        writer.start()
        await writer.write_changes()

        def look() -> None:
            try:
                writer.write_changes().send(None)
            except StopIteration:
                return

        took = microseconds(look)
        await writer.stop()
        return took

    return asyncio.run(rest())


def measure(folder: Path) -> dict[str, float]:
    """Return microseconds by what was measured."""
    full = _Full(folder)
    return {
        "a call: counted": microseconds(_Counting().count),
        "a call: counted, with gen_ai_*": microseconds(_Counting(gen_ai=True).count),
        "a call: counted, with its tenant": microseconds(_Counting(tenants=True).count),
        "a second: nothing changed": _at_rest(folder),
        f"{SERIES} series: snapshot on the loop": microseconds(full.encode),
        f"{SERIES} series: snapshot and file": microseconds(full.write),
        f"{SERIES} series: added up and told": microseconds(full.tell, batches=5, calls=2),
    }


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
        os.environ["TOLLGATE_DATA_DIR"] = folder
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
        import django  # noqa: PLC0415

        django.setup()
        sys.stdout.write(orjson.dumps(measure(Path(folder) / "metrics")).decode())


if __name__ == "__main__":
    main()
