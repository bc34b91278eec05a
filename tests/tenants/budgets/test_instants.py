"""A record's instant is that at which it is written, however long its budget was waited for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway_project.lib import clock
from responses_api.accounting.request_costs import RequestCosts
from responses_api.accounting.spool_writer import SpoolWriter
from responses_api.doors.shapes import ModelCall
from tenants.budgets.accounts import BudgetLeases
from tenants.budgets.leases import DrawResult
from tenants.budgets.terms import BudgetTerms
from tenants.budgets.zones import Switch
from tenants.ledger.records import Opened, read
from tenants.ledger.spool import Spool
from tenants.prices.history import History
from tenants.prices.rating import Line, Terms, terms
from tests.support.targets import target

BEGAN = 1_800_000_000.0 - 1_800_000_000 % 86_400 + 86_390  # ten seconds before midnight
MIDNIGHT = int(BEGAN) + 10
DAILY = BudgetTerms(1, "daily", (Switch("UTC"),), is_hard=True, name="daily")
PAYLOAD = b'{"model": "gpt", "input": "Hi"}'


def priced(version: int, effective_from: float) -> Terms:
    lines = [Line("input_fresh", 1_000_000 * version), Line("output_visible", 1_000_000 * version)]
    return terms(version, effective_from, lines)


class Slow:
    """A database that takes some seconds for its first answer."""

    def __init__(self, seconds: float) -> None:
        self.now = BEGAN
        self.seconds = seconds

    async def write(self, order: Any) -> Any:
        self.now, self.seconds = self.now + self.seconds, 0.0
        if not hasattr(order, "parts"):
            return None
        granted = tuple(part.known + 1_000_000_000 for part in order.parts)
        return DrawResult(granted, 10_000_000_000)


def opened(directory: Path, database: Slow, *versions: Terms) -> Opened:
    """The record of a call, as it stands in the spool."""

    async def call() -> None:
        spool_writer = SpoolWriter(Spool(directory, least_free_percent=0))
        budgets = BudgetLeases(database.write, spool_writer.name)
        caller = SimpleNamespace(
            tenant_id=1, tenant_slug="acme", key_id=1, key_public_id="0123456789", budgets=(DAILY,),
            list_budgets=(), end_user="",
        )  # fmt: skip
        history = History(versions)
        lane = target("responses", cost=history, charge=history, model="gpt")
        body = {"model": "gpt", "max_output_tokens": 4096}
        asked = ModelCall("responses", "gpt", False, False, body, len(PAYLOAD))
        costs = RequestCosts(
            spool_writer,
            budgets,
            request_id="req_" + "0" * 32,
            caller=cast("Any", caller),
            route=cast("Any", SimpleNamespace(alias="gpt", requested_model="")),
        )
        await costs.open(lane, "responses", asked, body, PAYLOAD)

    asyncio.run(call())
    (path,) = directory.glob("*/*.log")
    ((record, _),) = read(path.read_bytes())
    assert isinstance(record, Opened)
    return record


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    database = Slow(5.0)
    monkeypatch.setattr(clock, "timestamp", lambda: database.now)
    return database


def test_a_call_that_waited_is_opened_when_it_had_waited(tmp_path: Path, slow: Slow) -> None:
    record = opened(tmp_path, slow, priced(1, 0.0))
    assert record.at_ms == (BEGAN + 5) * 1000


def test_a_price_that_changed_meanwhile_is_the_one_that_counts(tmp_path: Path, slow: Slow) -> None:
    dearer = priced(3, BEGAN + 1)
    record = opened(tmp_path, slow, dearer, priced(1, 0.0))
    assert (record.charge_version, record.cost_version) == (3, 3)
    assert record.held_nano == 3_000 * (len(PAYLOAD) + 4096)


def test_a_day_that_began_meanwhile_is_the_one_that_pays(tmp_path: Path, slow: Slow) -> None:
    slow.seconds = 15.0
    record = opened(tmp_path, slow, priced(1, 0.0))
    assert record.at_ms >= MIDNIGHT * 1000
    assert [share.starts_at for share in record.budgets] == [MIDNIGHT]
