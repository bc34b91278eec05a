"""Define what is measured: one function a scenario, by the name `--only` takes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection

from bench import meters, replays
from bench import sockets as websockets
from bench.calls import (
    CELLS,
    CODEX_CELLS,
    RELAYS,
    Call,
    Cell,
    codex_call,
    json_call,
    kept_call,
    replay_call,
    stream_call,
)
from bench.figures import Figure, quantile
from bench.measuring import Bench, Sample, Samples, middle
from bench.processes import ROOT
from bench.stage import Server, counting_in_redis
from bench.stage import guarded as guarded_gateway

BODY_KILOBYTES = (1, 50)
JSON_CONCURRENCY = 32
THROUGHPUT_CONCURRENCY = 64
BURST_CHUNKS = 4_000
BURST_CONCURRENCY = 8
PACED_STREAMS = 200
PACE_MS = 20
HELD_PACE_MS = 40
MEMORY_STEPS = 10
# The leases of a key's budgets grow with its first calls, each time by a transaction in a thread.
LEASES_GROWN_CALLS = 1_000
REPLAYED_CHUNKS = 1_000
REPLAY_CONCURRENCY = 8
IDLE_SOCKETS = 200
FLAT_MEGABYTES = 2.0
# By these slower machines are judged: the floor of a JSON call of 1 KB on 2026-11-21 (docs/performance.md),
# and twice the 1.9 µs that were then the p99 of encoding and writing one record of a spool.
FLOOR_THEN_MS = 0.11
TWO_RECORDS_THEN_US = 3.8

# How long a gateway without calls is watched, and the longest until it has come to rest.
REST_SECONDS = 20.0
SETTLED_SECONDS = 5.0

Scenario = Callable[[Bench], Awaitable[list[Figure]]]


async def rest(bench: Bench) -> list[Figure]:
    """Measure the cost of an idle gateway: all its processes, the ingester included."""
    gateway = bench.stage.gateway
    await asyncio.sleep(SETTLED_SECONDS)
    with meters.reading(gateway.pid, beside=gateway.pids) as used:
        await asyncio.sleep(REST_SECONDS)
    cpu = used.cpu_of_all * 1e3 / REST_SECONDS
    held = meters.pss_megabytes(gateway.pids)
    return [
        Figure("rest", "all", "CPU per second, all processes", "ms", cpu, at_most=3),
        Figure("rest", "all", "PSS, all processes", "MB", held, at_most=140),
    ]


async def memory(bench: Bench) -> list[Figure]:
    """Measure a worker's memory after many calls of every kind, and whether it grows. Runs first, on a
    fresh worker.
    """
    gateway = bench.stage.gateway
    held = [meters.rss_megabytes(gateway.pid)]
    for _ in range(MEMORY_STEPS):
        await _step(bench, bench.scale.memory_calls // MEMORY_STEPS)
        held.append(meters.rss_megabytes(gateway.pid))
    after = f"RSS after {bench.scale.memory_calls:,} requests"
    growth = max(held[-1] - held[MEMORY_STEPS // 2], 0.0)
    return [
        Figure("memory", "all", "RSS at start", "MB", held[0]),
        Figure("memory", "all", after, "MB", held[-1], at_most=130),
        Figure("memory", "all", "growth, second half", "MB", growth, at_most=FLAT_MEGABYTES),
    ]


async def _step(bench: Bench, count: int) -> None:
    """Send four JSON calls to one short stream, through both relay cells."""
    gateway = bench.stage.gateway
    async with bench.load(gateway, JSON_CONCURRENCY) as load:
        for cell in RELAYS:
            await bench.send(gateway, load, json_call(cell, 1_000), count * 4 // 10)
            await bench.send(gateway, load, stream_call(cell, 20), count // 10)


async def json(bench: Bench) -> list[Figure]:
    """Measure the price of a JSON call."""
    found = []
    for cell in CELLS:
        for kilobytes in BODY_KILOBYTES:
            call = json_call(cell, kilobytes * 1000)
            samples = await bench.compare(call, bench.scale.json_calls, JSON_CONCURRENCY)
            at_most = (0.20 if cell.is_relay else 0.35) if kilobytes == 1 else None
            found += _json_figures(f"json {kilobytes} KB", cell, samples, at_most, FLOOR_THEN_MS)
    return found


async def metered(bench: Bench) -> list[Figure]:
    """Measure a JSON call with everything on: priced, two budgets, six limits.

    Limits are counted in memory, and in Redis where REDIS_URL names one.
    """
    gateway = replace(bench.stage.gateway, key=bench.stage.metered_key)
    found = await _metered(bench, gateway, "metered 1 KB", at_most=0.30)
    if redis_url := os.environ.get("REDIS_URL"):
        with counting_in_redis(bench.stage, redis_url) as other:
            found += await _metered(bench, other, "metered 1 KB, Redis", at_most=0.45)
    return found


async def _metered(bench: Bench, server: Server, name: str, at_most: float) -> list[Figure]:
    found = []
    async with bench.load(server, JSON_CONCURRENCY) as load:
        await bench.send(server, load, json_call(RELAYS[0], 1_000), LEASES_GROWN_CALLS)
    for cell in RELAYS:
        call = json_call(cell, 1_000)
        count = bench.scale.json_calls
        samples = await bench.compare_also(server, call, count, JSON_CONCURRENCY)
        found += _json_figures(name, cell, samples, at_most, FLOOR_THEN_MS)
    return found


async def stored(bench: Bench) -> list[Figure]:
    """Measure a JSON call whose response is stored, on SQLite."""
    found = []
    for cell in CODEX_CELLS:
        call = json_call(cell, 1_000, store=True)
        samples = await bench.compare(call, bench.scale.json_calls, JSON_CONCURRENCY)
        found += _json_figures("stored 1 KB", cell, samples, 0.60, FLOOR_THEN_MS)
    return found


async def cached(bench: Bench) -> list[Figure]:
    """Measure answers out of the response cache's memory; the floor asks its upstream."""
    found = []
    for cell in RELAYS:
        for kilobytes in BODY_KILOBYTES:
            call = kept_call(json_call(cell, kilobytes * 1000))
            samples = await bench.compare(call, bench.scale.json_calls, JSON_CONCURRENCY)
            at_most = FLOOR_THEN_MS if kilobytes == 1 else None
            found += _json_figures(
                f"cache hit {kilobytes} KB", cell, samples, at_most, FLOOR_THEN_MS
            )
    return found


async def codex(bench: Bench) -> list[Figure]:
    """Measure a turn of a coding agent: a large request with many tools, a short stream."""
    found = []
    for cell in CODEX_CELLS:
        samples = await bench.compare(codex_call(cell), bench.scale.json_calls, JSON_CONCURRENCY)
        found += _json_figures("codex 50 KB", cell, samples, 0.8)
    return found


def _json_figures(
    name: str,
    cell: Cell,
    samples: Samples,
    at_most: float | None,
    floor_then: float | None = None,
) -> list[Figure]:
    instructions = 1.4 if cell.is_relay and name == "json 1 KB" else None
    return [
        _figure(name, cell, "CPU per request", "ms", samples, Sample.cpu_per_call, at_most=at_most,
                floor_then=floor_then),
        _figure(name, cell, "CPU per request, all processes", "ms", samples, Sample.cpu_of_all_per_call),
        _figure(name, cell, "instructions per request", "M", samples, Sample.instructions_per_call,
                at_most=instructions),
    ]  # fmt: skip


async def burst(bench: Bench) -> list[Figure]:
    """Measure the price of a chunk when chunks come as fast as they are taken."""
    found = []
    for cell in CELLS:
        call = stream_call(cell, BURST_CHUNKS)
        samples = await bench.compare(call, bench.scale.burst_streams, BURST_CONCURRENCY)
        found += _chunk_figures("sse burst", cell, samples, at_most=1.0 if cell.is_relay else 3.0)
    return found


async def paced(bench: Bench) -> list[Figure]:
    """Measure the price of a chunk when each comes alone, as from a model."""
    found = []
    for cell in CELLS:
        call = stream_call(cell, bench.scale.paced_chunks, PACE_MS)
        samples = await bench.compare(call, PACED_STREAMS, PACED_STREAMS, rounds=1)
        found += _chunk_figures("sse paced", cell, samples, at_most=6.0 if cell.is_relay else 8.0)
    return found


def _chunk_figures(name: str, cell: Cell, samples: Samples, at_most: float) -> list[Figure]:
    instructions = Sample.instructions_per_100k_events
    return [
        _figure(name, cell, "CPU per 100k chunks", "s", samples, Sample.cpu_per_100k_events,
                at_most=at_most),
        _figure(name, cell, "instructions per 100k chunks", "G", samples, instructions),
        _rate(name, cell, "chunks/s", samples, lambda sample: sample.tally.events_per_second),
    ]  # fmt: skip


async def latency(bench: Bench) -> list[Figure]:
    """Measure how much longer a single call waits than a direct one, the servers taking turns call by
    call.
    """
    found = []
    for cell in RELAYS:
        for kilobytes in BODY_KILOBYTES:
            waited = await _waited(bench, json_call(cell, kilobytes * 1000))
            found += _latency_figures(f"latency {kilobytes} KB", cell, waited)
    return found


async def _waited(bench: Bench, call: Call) -> dict[str, list[float]]:
    """Return the milliseconds of every call, by server."""
    waited: dict[str, list[float]] = {server.name: [] for server in bench.stage.servers}
    direct, floor, gateway = bench.stage.servers
    async with (
        bench.load(direct, 1) as to_direct,
        bench.load(floor, 1) as to_floor,
        bench.load(gateway, 1) as to_gateway,
    ):
        turns = [(direct, to_direct), (floor, to_floor), (gateway, to_gateway)]
        for number in range(bench.scale.latency_calls + 50):
            for server, load in turns:
                tally = await bench.send(server, load, call, 1)
                if number >= 50:  # the first ones open connections and fill caches
                    waited[server.name].append(tally.latencies[0] * 1e3)
    return waited


def _latency_figures(name: str, cell: Cell, waited: dict[str, list[float]]) -> list[Figure]:
    found = []
    for percent in (50, 99):
        direct, floor, gateway = (
            quantile(waited[server], percent) for server in ("direct", "floor", "gateway")
        )
        target = 0.5 if (name, percent) == ("latency 1 KB", 50) else None
        found += [
            Figure(name, str(cell), f"p{percent}", "ms", gateway, floor, direct),
            Figure(name, str(cell), f"added p{percent}", "ms", gateway - direct, floor - direct,
                   at_most=target),
        ]  # fmt: skip
    return found


async def pinned(bench: Bench) -> list[Figure]:
    """Measure how long a single call waits when everything shares one processor.

    Whatever else wants the processor, such as the ingester, must give way.
    """
    found = []
    with meters.on_one_processor(bench.stage.pids):
        for cell in RELAYS:
            waited = await _waited(bench, json_call(cell, 1_000))
            found += _latency_figures("latency 1 KB, one processor", cell, waited)
    return found


async def throughput(bench: Bench) -> list[Figure]:
    """Measure calls a second when more wait than can be served; load and sandbox use the same processors."""
    found = []
    for cell in RELAYS:
        for kilobytes in BODY_KILOBYTES:
            call = json_call(cell, kilobytes * 1000)
            count = bench.scale.throughput_calls
            samples = await bench.compare(call, count, THROUGHPUT_CONCURRENCY)
            name = f"throughput {kilobytes} KB"
            found.append(_rate(name, cell, "requests/s", samples, _calls_per_second))
    return found


def _calls_per_second(sample: Sample) -> float:
    return sample.tally.calls_per_second


async def streams(bench: Bench) -> list[Figure]:
    """Run many streams at once; a single one that fails ends the bench."""
    found = []
    for cell in RELAYS:
        at_once = bench.scale.held_streams
        call = stream_call(cell, bench.scale.held_chunks, HELD_PACE_MS)
        sample = await bench.sample(bench.stage.gateway, call, at_once, at_once)
        failures, peak = sample.tally.failures, sample.tally.peak
        name = f"{at_once} streams"
        found += [
            Figure(name, str(cell), "streams at once", "", peak),
            Figure(name, str(cell), "failed streams", "", failures, at_most=0),
            Figure(
                name,
                str(cell),
                "RSS of the worker",
                "MB",
                meters.rss_megabytes(bench.stage.gateway.pid),
            ),
        ]
    return found


async def replay(bench: Bench) -> list[Figure]:
    """Measure the price of replaying a thousand kept events; `floor` and `direct` keep none."""
    found = []
    gateway = bench.stage.gateway
    for cell in CODEX_CELLS:
        response_id = await replays.made(gateway, cell, REPLAYED_CHUNKS)
        bench.sent_to_gateway += 1
        call = replay_call(cell, response_id, REPLAYED_CHUNKS)
        async with bench.load(gateway, REPLAY_CONCURRENCY) as load:
            await load.run(call, REPLAY_CONCURRENCY)
            with meters.reading(gateway.pid) as used:
                tally = await load.run(call, bench.scale.replays)
        name = f"replay {REPLAYED_CHUNKS:,}"
        per_replay = used.cpu * 1e3 / tally.calls
        per_event = used.cpu * 1e5 / tally.events
        found += [
            Figure(name, str(cell), "CPU per replay", "ms", per_replay),
            Figure(name, str(cell), "CPU per 100k events", "s", per_event),
        ]
    return found


async def sockets(bench: Bench) -> list[Figure]:
    """Measure what idle WebSockets hold, and the price of a frame; `floor` and `direct` have none."""
    gateway = bench.stage.gateway
    async with websockets.held(gateway, 1) as (first,):
        await websockets.turn(first, RELAYS[-1], "Hello")  # what the first one loads
        before = meters.rss_megabytes(gateway.pid)
        async with websockets.held(gateway, IDLE_SOCKETS) as idle:
            found = [_added("idle", gateway, before)]
            for connection in idle:
                await websockets.turn(connection, RELAYS[-1], "Hello")
            found.append(_added("after a turn each", gateway, before))
        bench.sent_to_gateway += 1 + IDLE_SOCKETS
        return found + [await _frames(bench, first, cell) for cell in CODEX_CELLS]


async def guarded(bench: Bench) -> list[Figure]:
    """Measure relays whose calls have guardrails of every local kind, and those of a tenant that has none
    beside it; `json` and `burst` tell what they cost where nobody has any."""
    found = []
    with guarded_gateway(bench.stage) as servers:
        for server in servers:
            for cell in RELAYS:
                call = json_call(cell, 1_000)
                samples = await bench.compare_also(
                    server, call, bench.scale.json_calls, JSON_CONCURRENCY
                )
                found += _json_figures(f"{server.name} 1 KB", cell, samples, None)
                call = stream_call(cell, BURST_CHUNKS)
                samples = await bench.compare_also(
                    server, call, bench.scale.burst_streams, BURST_CONCURRENCY
                )
                found.append(
                    _figure(f"{server.name} sse burst", cell, "CPU per 100k chunks", "s", samples,
                            Sample.cpu_per_100k_events)
                )  # fmt: skip
    return found


async def guardrails(bench: Bench) -> list[Figure]:
    """Measure what guardrails cost a delta, beside its translation, in a process of its own, and what they
    hold back."""
    took = await _told_by("bench.guardrails")
    plain, held = took["plain"], took["held"]
    found = [
        Figure("guardrails", kind, "CPU added to a delta", "µs", with_kind - plain, plain,
               at_most=FLOOR_THEN_MS * 1e3 / 15 if kind == "all" else None)
        for kind, with_kind in took["kinds"].items()
    ]  # fmt: skip
    return [
        *found,
        Figure("guardrails", "all", "CPU per KB of a request", "µs", took["kilobyte"]),
        Figure("guardrails", "all", "characters held on average", "", held["average"], at_most=3),
        Figure("guardrails", "all", "characters held at most", "", held["most"], at_most=5),
    ]


async def _told_by(program: str) -> dict[str, Any]:
    """Return the figures that a program of the bench prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", program, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    told: dict[str, Any] = orjson.loads(said)
    return told


async def accounting(bench: Bench) -> list[Figure]:
    """Measure hold, open and settle in a process of its own; the floor is writing the two records alone."""
    took = await _told_by("bench.accounting")
    return [
        Figure(
            "accounting",
            "two budgets",
            f"hold, open and settle, {quantile}",
            "µs",
            took["whole"][quantile],
            took["writes"][quantile],
            at_most=50 if quantile == "p99" else None,
            floor_then=TWO_RECORDS_THEN_US,
        )
        for quantile in ("p50", "p99")
    ]


async def planning(bench: Bench) -> list[Figure]:
    """Measure deciding where a call goes, in a process of its own; the floor is that of a JSON call."""
    return await _beside_a_call(bench, "planning", "three lanes: plan", 20)


async def traces(bench: Bench) -> list[Figure]:
    """Measure what a trace costs, in a process of its own; the floor is that of a JSON call."""
    return await _beside_a_call(bench, "traces", "a call: all of it", 20)


async def _beside_a_call(bench: Bench, name: str, bounded: str, share: int) -> list[Figure]:
    """Return the microseconds that a program tells, beside the floor of a JSON call: those whose name begins
    with `bounded` may be one in `share` of it."""
    call = json_call(RELAYS[0], 1_000)
    floor = await bench.sample(bench.stage.floor, call, bench.scale.json_calls, JSON_CONCURRENCY)
    told = await _told_by(f"bench.{name}")
    return [
        Figure(
            name,
            where,
            what,
            "µs",
            took,
            floor.cpu_per_call() * 1000,
            at_most=FLOOR_THEN_MS * 1000 / share if of.startswith(bounded) else None,
            floor_then=FLOOR_THEN_MS * 1000,
        )
        for of, took in told.items()
        for where, what in (of.split(": "),)
    ]


async def metrics(bench: Bench) -> list[Figure]:
    """Measure what metrics cost, in a process of its own; the floor is that of a JSON call."""
    call = json_call(RELAYS[0], 1_000)
    floor = await bench.sample(bench.stage.floor, call, bench.scale.json_calls, JSON_CONCURRENCY)
    return [
        Figure(
            "metrics",
            where,
            what,
            "µs",
            took,
            floor.cpu_per_call() * 1000,
            at_most=FLOOR_THEN_MS * 1000 / 50 if name == "a call: counted" else None,
            floor_then=FLOOR_THEN_MS * 1000,
        )
        for name, took in (await _told_by("bench.counting")).items()
        for where, what in (name.split(": "),)
    ]


def _added(when: str, gateway: Server, before: float) -> Figure:
    added = meters.rss_megabytes(gateway.pid) - before
    return Figure("sockets", f"{IDLE_SOCKETS} {when}", "RSS added", "MB", added, at_most=10)


async def _frames(bench: Bench, connection: ClientConnection, cell: Cell) -> Figure:
    """Measure the price of a frame when they come as fast as they are taken."""
    frames, streams = 0, bench.scale.burst_streams
    with meters.reading(bench.stage.gateway.pid) as used:
        for _ in range(streams):
            frames += await websockets.turn(connection, cell, f"[chunks={BURST_CHUNKS}]")
    bench.sent_to_gateway += streams
    return Figure("sockets", str(cell), "CPU per 100k frames", "s", used.cpu * 1e5 / frames)


def _figure(
    scenario: str,
    cell: Cell,
    what: str,
    unit: str,
    samples: Samples,
    value: Callable[[Sample], float | None],
    at_most: float | None = None,
    floor_then: float | None = None,
) -> Figure:
    """Return the median of the rounds, for the gateway and the floor."""
    rounds = [value(sample) for sample in samples["gateway"]]
    floor = middle([value(sample) for sample in samples["floor"]])
    best = min((found for found in rounds if found is not None), default=None)
    return Figure(
        scenario,
        str(cell),
        what,
        unit,
        middle(rounds),
        floor,
        at_most=at_most,
        best=best,
        floor_then=floor_then,
    )


def _rate(
    scenario: str, cell: Cell, what: str, samples: Samples, value: Callable[[Sample], float]
) -> Figure:
    """Return the median of the rounds, for all three."""
    gateway, floor, direct = (
        middle([value(sample) for sample in samples[name]])
        for name in ("gateway", "floor", "direct")
    )
    return Figure(scenario, str(cell), what, "/s", gateway, floor, direct)


SCENARIOS: dict[str, Scenario] = {
    "rest": rest,
    "memory": memory,
    "json": json,
    "metered": metered,
    "stored": stored,
    "cached": cached,
    "codex": codex,
    "burst": burst,
    "paced": paced,
    "latency": latency,
    "pinned": pinned,
    "throughput": throughput,
    "streams": streams,
    "replay": replay,
    "sockets": sockets,
    "accounting": accounting,
    "planning": planning,
    "metrics": metrics,
    "traces": traces,
    "guarded": guarded,
    "guardrails": guardrails,
}
