"""Run one call many times against each server in turn, and read what that cost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from statistics import median

from bench import meters
from bench.calls import Call
from bench.load import Load, Tally
from bench.meters import Reading
from bench.stage import Server, Stage

WARM_UP_CALLS_PER_CONNECTION = 4
# Until the ingester has looked at the spools once more after the last call (tenants/ledger/ingester.py).
INGESTED_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Scale:
    """Say how much is measured. Rounds are short and visit the servers in turn, so that a disturbance meets
    all alike."""

    rounds: int
    json_calls: int
    burst_streams: int
    paced_chunks: int
    latency_calls: int
    throughput_calls: int
    held_streams: int
    held_chunks: int
    memory_calls: int
    replays: int


FULL = Scale(
    rounds=15,
    json_calls=700,
    burst_streams=8,
    paced_chunks=500,
    latency_calls=2_000,
    throughput_calls=700,
    held_streams=500,
    held_chunks=200,
    memory_calls=100_000,
    replays=400,
)
QUICK = Scale(
    rounds=3,
    json_calls=400,
    burst_streams=8,
    paced_chunks=50,
    latency_calls=200,
    throughput_calls=400,
    held_streams=100,
    held_chunks=40,
    memory_calls=2_000,
    replays=80,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One load on one server, and what the server used meanwhile."""

    tally: Tally
    used: Reading

    def cpu_per_call(self) -> float:
        """Return milliseconds."""
        return self.used.cpu * 1e3 / self.tally.calls

    def cpu_of_all_per_call(self) -> float:
        """Return milliseconds, of all processes that serve."""
        return self.used.cpu_of_all * 1e3 / self.tally.calls

    def cpu_per_100k_events(self) -> float:
        """Return seconds."""
        return self.used.cpu * 1e5 / self.tally.events

    def instructions_per_call(self) -> float | None:
        """Return millions."""
        counted = self.used.instructions
        return None if counted is None else counted / 1e6 / self.tally.calls

    def instructions_per_100k_events(self) -> float | None:
        """Return thousands of millions."""
        counted = self.used.instructions
        return None if counted is None else counted / 1e9 * 1e5 / self.tally.events


Samples = dict[str, list[Sample]]


class Bench:
    """The context of scenarios: the stage, the scale, and a count of what was sent to the gateway."""

    def __init__(self, stage: Stage, scale: Scale) -> None:
        self.stage = stage
        self.scale = scale
        self.sent_to_gateway = 0
        self._counts_instructions = meters.counts_instructions()

    async def compare(self, call: Call, count: int, concurrency: int, rounds: int = 0) -> Samples:
        """Return samples by server name, one a round."""
        samples: Samples = {server.name: [] for server in self.stage.servers}
        for _ in range(rounds or self.scale.rounds):
            for server in self.stage.servers:
                samples[server.name].append(await self.sample(server, call, count, concurrency))
        return samples

    async def compare_also(
        self, other: Server, call: Call, count: int, concurrency: int
    ) -> Samples:
        """Compare with another server in the gateway's place."""
        samples: Samples = {"gateway": [], "floor": []}
        for _ in range(self.scale.rounds):
            samples["gateway"].append(await self.sample(other, call, count, concurrency))
            samples["floor"].append(await self.sample(self.stage.floor, call, count, concurrency))
        return samples

    async def sample(self, server: Server, call: Call, count: int, concurrency: int) -> Sample:
        async with self.load(server, concurrency) as load:
            if not call.is_stream:
                await self.send(server, load, call, concurrency * WARM_UP_CALLS_PER_CONNECTION)
            counts = self._counts_instructions
            with meters.reading(server.pid, beside=server.pids, count_instructions=counts) as used:
                tally = await self.send(server, load, call, count)
                if server.pids:
                    await asyncio.sleep(INGESTED_SECONDS)
        return Sample(tally, used)

    async def send(self, server: Server, load: Load, call: Call, count: int) -> Tally:
        if server.port == self.stage.gateway.port:
            self.sent_to_gateway += count
        return await load.run(call, count)

    @contextlib.asynccontextmanager
    async def load(self, server: Server, concurrency: int) -> AsyncIterator[Load]:
        """Open connections, closed after the block."""
        load = Load(server.port, server.key)
        try:
            await load.connect(concurrency)
            yield load
        finally:
            load.close()


def middle(values: list[float | None]) -> float | None:
    """Return the median; None if any round has no value."""
    known = [value for value in values if value is not None]
    return median(known) if known and len(known) == len(values) else None
