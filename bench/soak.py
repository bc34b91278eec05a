"""`python -m bench.soak`: send many calls, some abandoned by their client, and check what remains in the
worker.

Memory may not grow by more than a few megabytes after the warm-up, and descriptors, sockets and threads
must return to what they were after it. The exit code is 1 if they do not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression

import uvloop

from bench import meters
from bench.calls import CELLS, Call, json_call, stream_call
from bench.load import Load, LoadFailed
from bench.processes import NotReady
from bench.stage import Server, stage

MOST_GROWTH_MEGABYTES = 5.0
ROUNDS = 50
WARM_UP_SHARE = 0.2
CONNECTIONS = 16
CHUNKS = 20
# A client leaves after its first bytes, while the upstream still sends.
LEFT_CALLS = tuple(stream_call(cell, 200, pace_ms=5) for cell in CELLS)
WHOLE_CALLS = tuple(
    call for cell in CELLS for call in (json_call(cell, 1000), stream_call(cell, CHUNKS))
)
REST_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Held:
    """The resources of a process, including idle connections to the upstream, which are kept for later."""

    descriptors: int
    sockets: int
    threads: int

    def exceeds(self, other: Held) -> bool:
        return (
            self.descriptors > other.descriptors
            or self.sockets > other.sockets
            or self.threads > other.threads
        )


def held(pid: int) -> Held:
    places = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            places.append(os.readlink(descriptor))  # noqa: PTH115  # it names no file
    sockets = sum(place.startswith("socket:") for place in places)
    return Held(len(places), sockets, sum(1 for _ in Path(f"/proc/{pid}/task").iterdir()))


def growth(megabytes: Sequence[float]) -> float:
    """Return by how much a line through the samples rises from first to last."""
    slope, _ = linear_regression(range(len(megabytes)), megabytes)
    return slope * (len(megabytes) - 1)


class Soak:
    """Repeats one round; each cell's calls in turn."""

    def __init__(self, server: Server, requests: int, aborted_percent: int) -> None:
        self._server = server
        self._load = Load(server.port, server.key)
        self._aborted = requests // ROUNDS * aborted_percent // 100
        self._whole = requests // ROUNDS - self._aborted
        self._turn = 0

    @property
    def requests(self) -> int:
        return ROUNDS * (self._whole + self._aborted)

    async def run(self) -> tuple[list[float], Held, Held]:
        """Return the memory after each round past the warm-up, and what was held after it and at the end."""
        await self._load.connect(CONNECTIONS)
        memory: list[float] = []
        before = held(self._server.pid)
        for number in range(ROUNDS):
            await self._round()
            if number + 1 == int(ROUNDS * WARM_UP_SHARE):
                before = await self._at_rest(None)
            elif number + 1 > ROUNDS * WARM_UP_SHARE:
                memory.append(meters.rss_megabytes(self._server.pid))
        after = await self._at_rest(before)
        self._load.close()
        return memory, before, after

    async def _round(self) -> None:
        leaving = asyncio.create_task(self._leave_all())
        share = self._whole // len(WHOLE_CALLS)
        counts = [share] * len(WHOLE_CALLS)
        counts[0] += self._whole - share * len(WHOLE_CALLS)
        for call, count in zip(WHOLE_CALLS, counts, strict=True):
            if count:
                await self._load.run(call, count)
        await leaving

    async def _leave_all(self) -> None:
        left = iter(range(self._aborted))

        async def some() -> None:
            for _ in left:
                self._turn += 1
                await leave(self._server, LEFT_CALLS[self._turn % len(LEFT_CALLS)])

        await asyncio.gather(*(some() for _ in range(CONNECTIONS // 4)))

    async def _at_rest(self, level: Held | None) -> Held:
        """Return what is held at rest: as soon as it is no more than `level`, or after a while."""
        deadline = time.monotonic() + (REST_SECONDS if level else 2.0)
        while time.monotonic() < deadline:
            now = held(self._server.pid)
            if level is not None and not now.exceeds(level):
                return now
            await asyncio.sleep(0.2)
        return held(self._server.pid)


async def leave(server: Server, call: Call) -> None:
    """Send a request, wait for the first bytes of the answer's events, and disconnect."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(call.on_wire(server.port, server.key))
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise LoadFailed(f"a call to be left was refused: {head[:200]!r}")
    await reader.read(1024)
    writer.transport.abort()


async def measure(requests: int, aborted_percent: int) -> bool:
    """Print the figures and tell whether they are within bounds."""
    with stage() as set_up:
        soak = Soak(set_up.gateway, requests, aborted_percent)
        began = time.monotonic()
        memory, before, after = await soak.run()
        seconds = time.monotonic() - began
        errors = set_up.complaints()
    grown = growth(memory)
    is_flat, is_back = grown <= MOST_GROWTH_MEGABYTES, not after.exceeds(before)
    print(f"requests           {soak.requests:,} in {seconds:.0f} s, {aborted_percent} % left")
    print(
        f"memory             {memory[0]:.1f} MB after the warm-up, {memory[-1]:.1f} MB at the end"
    )
    print(f"growth (fitted)    {grown:+.2f} MB, {_word(is_flat)}")
    print(f"held before, after {before}, {after}, {_word(is_back)}")
    if not (is_flat and is_back):
        print(errors, file=sys.stderr)
    return is_flat and is_back


def _word(good: bool) -> str:
    return "ok" if good else "TOO MUCH"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--aborted", type=int, default=20, metavar="PERCENT")
    options = parser.parse_args()
    try:
        return 0 if uvloop.run(measure(options.requests, options.aborted)) else 1
    except (LoadFailed, NotReady, TimeoutError) as error:
        print(f"soak: {type(error).__name__}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
