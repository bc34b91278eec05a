"""What accounting for a call costs, without the call: hold, open, settle, and a lease now and then.

A program of its own, because it needs Django's settings; `python -m bench` runs it and reads its JSON.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson

ROUNDS = 20_000
WARM_UP = 2_000


async def measure(directory: Path) -> list[int]:
    """Nanoseconds of each round."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415  # after the settings, as what follows

    from responses_api.accounting.account import Account  # noqa: PLC0415
    from responses_api.accounting.books import Books  # noqa: PLC0415
    from responses_api.doors.shapes import ModelCall  # noqa: PLC0415
    from tenants.budgets.accounts import Accounts  # noqa: PLC0415
    from tenants.budgets.leases import Draw, Drawn  # noqa: PLC0415
    from tenants.budgets.terms import BudgetTerms  # noqa: PLC0415
    from tenants.ledger.spool import Spool  # noqa: PLC0415
    from tenants.prices.history import History  # noqa: PLC0415
    from tenants.prices.rating import Line, terms  # noqa: PLC0415
    from tenants.token_classes import Usage  # noqa: PLC0415

    async def write(record: Any) -> Any:
        """The database's part, which a call in a hundred or so waits for."""
        if not isinstance(record, Draw):
            return None
        granted = tuple(part.known + 1_000_000_000 for part in record.parts)
        return Drawn(granted, 25_000_000_000)

    books = Books(Spool(directory, least_free_percent=0))
    budgets = tuple(
        BudgetTerms(n, "monthly", ZoneInfo("Europe/Berlin"), is_hard=True) for n in (1, 2)
    )
    priced = History(
        (terms(1, 0.0, [Line("input_fresh", 3_000_000), Line("output_visible", 15_000_000)]),)
    )
    worker = SimpleNamespace(books=books, budgets=Accounts(write, books.name))
    caller = SimpleNamespace(
        tenant_id=1, tenant_slug="acme", key_id=1, key_public_id="0123456789", budgets=budgets
    )
    target = SimpleNamespace(
        cost=priced, charge=priced, provider="openai", model="gpt", max_output_tokens=None
    )
    payload = orjson.dumps({"model": "gpt", "input": "x" * 900})
    call = ModelCall("responses", "gpt", False, False, {"model": "gpt"}, len(payload))
    usage = Usage(input_fresh=220, output_visible=120)
    taken = []
    for number in range(ROUNDS + WARM_UP):
        admitted = SimpleNamespace(
            request_id=f"req_{number:028x}0000",
            caller=caller,
            route=SimpleNamespace(alias="gpt"),
            socket=None,
        )
        began = time.perf_counter_ns()
        account = Account(cast("Any", worker), cast("Any", admitted))
        leg, _ = await account.open(cast("Any", target), "responses", call, payload)
        leg.settle(status="completed", usage=usage, usage_source="provider", http_status=200)
        taken.append(time.perf_counter_ns() - began)
    await books.stop()
    return sorted(taken[WARM_UP:])


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
        os.environ["TOLLGATE_DATA_DIR"] = folder
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
        import django  # noqa: PLC0415

        django.setup()
        from gateway_project.serving.server import collect_seldom  # noqa: PLC0415

        collect_seldom()  # as in a worker
        taken = asyncio.run(measure(Path(folder) / "spool"))
    figures = {"p50": taken[len(taken) // 2] / 1000, "p99": taken[len(taken) * 99 // 100] / 1000}
    sys.stdout.write(orjson.dumps(figures).decode())


if __name__ == "__main__":
    main()
