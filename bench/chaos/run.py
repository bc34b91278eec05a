"""Run once: calls and kills for a while, then silence, then the comparison."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

from bench.chaos import truth
from bench.chaos.accounts import Row
from bench.chaos.clients import Client, Diary, poll
from bench.chaos.comparing import Findings, compare
from bench.chaos.killing import Killer
from bench.chaos.postgres import CRASH_SECONDS, Server
from bench.chaos.stage import Stage, gateway
from bench.chaos.wire import Wire

CLIENTS = 20
ENDLESS_NANO = 1_000_000 * 10**9
# Runs of a dead worker are taken over when its lease is over.
UNFINISHED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a run. `budget_nano` is a hard budget that ends midway."""

    seconds: float
    workers: int
    pause_seconds: tuple[float, float]
    seed: int
    is_control: bool = False
    clients: int = CLIENTS
    budget_nano: int | None = None

    @property
    def amount_nano(self) -> int:
        """Return what may be charged in all; without a budget to exhaust, more than ever is."""
        return ENDLESS_NANO if self.budget_nano is None else self.budget_nano


@dataclass(slots=True)
class Outcome:
    """The findings of a run. `sums` and `budget` are as in bench/chaos/books.py."""

    findings: Findings
    killed: Counter[str]
    kinds: Counter[str]
    ends: int
    cuts: int
    refusals: Counter[str]
    ingested: dict[str, Any]
    sums: dict[str, dict[str, int]]
    budget: dict[str, int]
    differences: list[str] = field(default_factory=list)

    @property
    def sums_agree(self) -> bool:
        return len({tuple(sorted(part.items())) for part in self.sums.values()}) == 1

    @property
    def budget_agrees(self) -> bool:
        """Check the budget: everything charged is counted as spent, it was not exceeded, and nothing is
        still held.

        Beyond what was charged, only calls without an answer may count.
        """
        spent, held = self.budget["spent_nano"], self.budget["reserved_nano"]
        charged, unfunded = (self.sums["rows"][name] for name in ("charge_nano", "unfunded_nano"))
        agrees = charged <= spent <= charged + unfunded and held == 0
        return agrees and spent <= self.budget["amount_nano"]

    @property
    def is_clean(self) -> bool:
        agrees = self.sums_agree and self.budget_agrees and not self.differences
        return agrees and not self.findings.offenders


async def run(on: Stage, plan: Plan) -> Outcome:
    """Run the plan. Raise NotReady."""
    diary = Diary()
    with gateway(on, plan.workers, forgetful=plan.is_control) as (port, supervisor):
        killer = Killer(supervisor, plan.pause_seconds, Random(f"{plan.seed}:killer"))
        await _storm(on, plan, port, diary, killer)
        await _finish(on, port, diary)
    ingested = on.ingest()
    return _outcome(on, plan, diary, killer, ingested)


async def _storm(on: Stage, plan: Plan, port: int, diary: Diary, killer: Killer) -> None:
    """Run clients and killer; the killer stops first, so that running calls can end."""
    calm, end = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for number in range(plan.clients):
            client = Client(port, on.key, diary, Random(f"{plan.seed}:{number}"))
            tasks.create_task(client.run(end))
        attacks = [tasks.create_task(killer.run(calm))]
        if on.server is not None:
            chance = Random(f"{plan.seed}:database")
            attacks.append(tasks.create_task(_crash_database(on.server, chance, killer, calm)))
        await asyncio.sleep(plan.seconds)
        calm.set()
        await asyncio.wait(attacks)
        end.set()


async def _crash_database(
    server: Server, chance: Random, killer: Killer, stop: asyncio.Event
) -> None:
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(*CRASH_SECONDS)):
                await stop.wait()
        if not stop.is_set():
            await server.crash()
            killer.killed["database"] += 1


async def _finish(on: Stage, port: int, diary: Diary) -> None:
    """Wait for background responses, which go on without their client."""
    wire = Wire(port, on.key)
    until = time.monotonic() + UNFINISHED_SECONDS
    for seen, response_id in diary.unfinished:
        await poll(wire, response_id, seen, until - time.monotonic())
    wire.close()


def _outcome(
    on: Stage, plan: Plan, diary: Diary, killer: Killer, ingested: dict[str, Any]
) -> Outcome:
    books = on.books()
    rows = [Row(**{**row, "tokens": tuple(row["tokens"])}) for row in books["rows"]]
    sent = truth.calls(on.sandbox_log)
    return Outcome(
        findings=compare(sent, rows, diary.seen, may_end_early=plan.budget_nano is not None),
        killed=killer.killed,
        kinds=Counter(seen.kind for seen in diary.seen),
        ends=sum(seen.ends for seen in diary.seen),
        cuts=sum(seen.cuts for seen in diary.seen),
        refusals=Counter(text for seen in diary.seen for text in seen.refusals),
        ingested=ingested,
        sums=books["sums"],
        budget=books["budget"],
        differences=books["differences"],
    )
