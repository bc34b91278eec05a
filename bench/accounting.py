"""Measure what accounting for a call costs without the call: hold, open, settle, and a lease now and
then.

Beside each figure stands the cost of encoding and writing its two records and nothing else. It is a
program of its own because it needs Django's settings; `python -m bench` runs it and reads its JSON.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson

from bench.figures import quantile

ROUNDS = 20_000
WARM_UP = 2_000


class Calls:
    """Calls of a caller with two budgets, for a model with prices. Made once Django is set up."""

    def __init__(self, directory: Path) -> None:
        from responses_api.accounting.spool_writer import SpoolWriter  # noqa: PLC0415  # after the settings
        from responses_api.doors.shapes import ModelCall  # noqa: PLC0415
        from tenants.budgets.accounts import BudgetLeases  # noqa: PLC0415
        from tenants.ledger.spool import Spool  # noqa: PLC0415
        from tenants.token_classes import Usage  # noqa: PLC0415

        self.spool_writer = SpoolWriter(Spool(directory, least_free_percent=0))
        self._budgets = BudgetLeases(_granted, self.spool_writer.name)
        self._caller, self._target = _caller(), _target()
        self._route: Any = SimpleNamespace(alias="gpt", requested_model="")
        self._body = {"model": "gpt", "input": "x" * 900}
        self._payload = orjson.dumps(self._body)
        self._call = ModelCall("responses", "gpt", False, False, self._body, len(self._payload))
        self._usage = Usage(input_fresh=220, output_visible=120)

    async def account(self, number: int) -> None:
        from responses_api.accounting.metered_call import CallEnd  # noqa: PLC0415
        from responses_api.accounting.request_costs import RequestCosts  # noqa: PLC0415

        costs = RequestCosts(
            self.spool_writer,
            self._budgets,
            request_id=f"req_{number:028x}0000",
            caller=self._caller,
            route=self._route,
        )
        leg, _ = await costs.open(self._target, "responses", self._call, self._body, self._payload)
        leg.settle(CallEnd("completed", self._usage, "provider", 200))


async def _granted(record: Any) -> Any:
    """Run the database's part, which about one call in a hundred waits for."""
    from tenants.budgets.leases import Draw, DrawResult  # noqa: PLC0415

    if not isinstance(record, Draw):
        return None
    return DrawResult(tuple(part.known + 1_000_000_000 for part in record.parts), 25_000_000_000)


def _caller() -> Any:
    from tenants.budgets.terms import BudgetTerms  # noqa: PLC0415
    from tenants.budgets.zones import Switch  # noqa: PLC0415

    zone = (Switch("Europe/Berlin"),)
    budgets = tuple(BudgetTerms(number, "monthly", zone, is_hard=True) for number in (1, 2))
    return SimpleNamespace(
        tenant_id=1, tenant_slug="acme", key_id=1, key_public_id="0123456789", budgets=budgets,
        fee_budgets=budgets, list_budgets=(), end_user="",
    )  # fmt: skip


def _target() -> Any:
    from tenants.prices.history import History  # noqa: PLC0415
    from tenants.prices.rating import Line, terms  # noqa: PLC0415
    from tests.support.targets import target  # noqa: PLC0415

    lines = [Line("input_fresh", 3_000_000), Line("output_visible", 15_000_000)]
    prices = History((terms(1, 0.0, lines),))
    return target("responses", cost=prices, charge=prices, provider="openai", model="gpt")


def _bare(spool: Path, file: int) -> Callable[[], None]:
    """Encode and write the two records of the first call once more."""
    from tenants.ledger.records import framed, read  # noqa: PLC0415

    opened, settled = (record for record, _ in read((spool / "000001.log").read_bytes()))

    def write() -> None:
        os.write(file, framed(cast("Any", opened)))
        os.write(file, framed(cast("Any", settled)))

    return write


async def measure(directory: Path) -> tuple[list[int], list[int]]:
    """Return the nanoseconds of each call, and of writing its two records."""
    calls = Calls(directory)
    await calls.account(0)
    file = os.open(directory / "bare", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    write = _bare(directory / calls.spool_writer.name, file)
    taken, written = [], []
    for number in range(1, ROUNDS + WARM_UP):
        began = time.perf_counter_ns()
        await calls.account(number)
        between = time.perf_counter_ns()
        write()
        taken.append(between - began)
        written.append(time.perf_counter_ns() - between)
    os.close(file)
    await calls.spool_writer.stop()
    return taken[WARM_UP:], written[WARM_UP:]


def quantiles(taken: list[int]) -> dict[str, float]:
    """Return the quantiles in microseconds."""
    return {f"p{percent}": quantile(taken, percent) / 1000 for percent in (50, 99)}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
        os.environ["TOLLGATE_DATA_DIR"] = folder
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
        import django  # noqa: PLC0415

        django.setup()
        from gateway_project.serving.server import collect_seldom  # noqa: PLC0415

        collect_seldom()  # as in a worker
        taken, written = asyncio.run(measure(Path(folder) / "spool"))
    figures = {"whole": quantiles(taken), "writes": quantiles(written)}
    sys.stdout.write(orjson.dumps(figures).decode())


if __name__ == "__main__":
    main()
