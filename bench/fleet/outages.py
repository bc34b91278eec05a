"""Script the outages, and work out what each was to the clients."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from bench.fleet.clients import Asked, Clients, steadily
from bench.fleet.weather import Provider

SHARE = 1 / 3
# Of that share, so much is called back: a window of some seconds has its chances.
IS_BACK = 0.75
WINDOW_SECONDS = 4.0
OPENS_WITHIN_SECONDS = 5.0
RECOVERS_WITHIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Outage:
    """Script what happens to the first lane, in the words of the sandbox's faults, and for how long."""

    name: str
    fault: str
    seconds: float
    slowness: bytes = b""


OUTAGES = (
    Outage("500s", "500", 30),
    Outage("stalls", "silence", 30),
    Outage("429 with Retry-After", "429-retry-after", 30),
    Outage("429 without", "429", 30),
    Outage("slow", "", 20, b"[pace=300]"),
)


@dataclass(frozen=True, slots=True)
class Result:
    """One outage as its clients met it. Times are None where it did not come to that."""

    name: str
    calls: int
    failed_share: float
    unprotected_share: float
    opened_after: float | None
    wasted_share: float
    recovered_after: float | None
    first_error: str = ""


async def play(
    outage: Outage, providers: list[Provider], clients: list[Clients], requests: list[bytes],
    rate: float, unprotected: Clients,
) -> Result:  # fmt: skip
    """Let the first lane suffer the outage while clients go on asking, and watch it come back."""
    lane = providers[0]
    asking = asyncio.create_task(steadily(clients, requests, rate))
    await asyncio.sleep(3.0)
    began_at = time.monotonic()
    lane.weather, lane.slowness = outage.fault, outage.slowness
    await asyncio.sleep(outage.seconds)
    ended_at = time.monotonic()
    lane.weather, lane.slowness = "", b""
    recovered = await _recovered(providers, ended_at)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    during = [each for of in clients for each in of.asked if began_at <= each.at < ended_at]
    return Result(
        outage.name,
        len(during),
        _failed(during),
        _share_of_unprotected(unprotected.asked),
        _opened(lane, began_at, ended_at),
        _wasted(providers, began_at + OPENS_WITHIN_SECONDS, ended_at),
        recovered,
        next((each.error for each in during if not each.is_answered), ""),
    )


async def _recovered(providers: list[Provider], since: float) -> float | None:
    """Wait until the first lane has its share again; return how long that took."""
    while (now := time.monotonic()) < since + RECOVERS_WITHIN_SECONDS + WINDOW_SECONDS:
        await asyncio.sleep(0.5)
        start = now - WINDOW_SECONDS
        counts = [each.asked(start, now) for each in providers]
        total, is_whole = sum(counts), start >= since - WINDOW_SECONDS / 2
        if is_whole and total and counts[0] / total >= IS_BACK * SHARE:
            return now - since
    return None


def _failed(calls: list[Asked]) -> float:
    return sum(not each.is_answered for each in calls) / max(len(calls), 1)


def _share_of_unprotected(calls: list[Asked]) -> float:
    return _failed(calls)


def _opened(lane: Provider, began_at: float, ended_at: float) -> float | None:
    """Return when the lane was left alone for two seconds for the first time."""
    asked = [at for at in lane.asked_at if began_at <= at < ended_at]
    for at, following in zip(asked, [*asked[1:], ended_at], strict=True):
        if following - at >= 2.0:
            return at - began_at
    return None


def _wasted(providers: list[Provider], since: float, until: float) -> float:
    counts = [each.asked(since, until) for each in providers]
    return counts[0] / max(sum(counts), 1)
