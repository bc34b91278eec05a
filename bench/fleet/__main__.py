"""`python -m bench.fleet`: outages of one of three lanes, before a gateway of four processes and without it.

Prints what clients saw beside its target; a figure over its target is shown, and the exit code stays 0.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time

from bench.fleet import clients as asking
from bench.fleet.clients import Clients
from bench.fleet.outages import OUTAGES, Outage, Result, play
from bench.fleet.stage import Gateway, gateway
from bench.fleet.weather import STORM, Provider
from bench.processes import NotReady

RATE = 40.0
STORM_SECONDS = 20.0
UNPROTECTED_CALLS = 60


def main() -> int:
    options = _parser().parse_args()
    try:
        asyncio.run(measure(options.only, options.rate))
    except NotReady as error:
        print(f"fleet: {error}", file=sys.stderr)
        return 1
    return 0


async def measure(only: list[str] | None, rate: float) -> None:
    providers = [Provider(name) for name in ("first", "second", "third")]
    for provider in providers:
        await provider.start()
    ports = [provider.port for provider in providers]
    with gateway(ports) as served:
        print(_HEAD)
        for outage in OUTAGES:
            if only is None or outage.name in only:
                result = await _one(outage, providers, served, rate)
                print(_line(result), flush=True)
        if only is None or "storm" in only:
            print(await _storm(providers, served, rate), flush=True)
    for provider in providers:
        await provider.stop()


async def _one(outage: Outage, providers: list[Provider], served: Gateway, rate: float) -> Result:
    direct = await _unprotected(outage, providers)
    everybody = [Clients("127.0.0.1", served.port) for _ in served.keys]
    requests = [asking.request(served.port, key, "Hi", "fleet") for key in served.keys]
    try:
        return await play(outage, providers, everybody, requests, rate, direct)
    finally:
        for each in everybody:
            each.close()


async def _unprotected(outage: Outage, providers: list[Provider]) -> Clients:
    """Ask the providers themselves, by chance, while the first has the outage: what no policy comes to."""
    seen = Clients("127.0.0.1", 0)
    providers[0].weather = outage.fault
    chance = random.Random(outage.name)
    for _ in range(UNPROTECTED_CALLS):
        port = chance.choice(providers).port
        one = Clients("127.0.0.1", port)
        try:
            async with asyncio.timeout(3.0):
                await one.ask(asking.request(port, "none", "Hi", "sandbox-1"))
        except TimeoutError:
            one.asked.append(asking.Asked(time.monotonic(), 3.0, is_answered=False))
        seen.asked += one.asked
        one.close()
    providers[0].weather = ""
    return seen


async def _storm(providers: list[Provider], served: Gateway, rate: float) -> str:
    """Let one tenant send nothing but requests that every provider refuses, beside the others."""
    others = [Clients("127.0.0.1", served.port) for _ in served.keys[1:]]
    requests = [asking.request(served.port, key, "Hi", "fleet") for key in served.keys[1:]]
    storm = Clients("127.0.0.1", served.port)
    bad = asking.request(served.port, served.keys[0], STORM.decode(), "fleet")
    tasks = [
        asyncio.create_task(asking.steadily(others, requests, rate)),
        asyncio.create_task(asking.steadily([storm], [bad], rate)),
    ]
    began_at = time.monotonic()
    await asyncio.sleep(STORM_SECONDS)
    shares = [each.asked(began_at, time.monotonic()) for each in providers]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    calls = [each for of in others for each in of.asked]
    failed = sum(not each.is_answered for each in calls)
    spread = " / ".join(f"{share / sum(shares):.0%}" for share in shares)
    return (
        f"400 storm: {len(storm.asked)} refused calls of one tenant; of {len(calls)} calls of others "
        f"{failed} failed (target 0); lanes {spread}"
    )


_HEAD = (
    f"{'outage':<22}{'calls':>7}{'errors':>9}{'no policy':>11}{'opened':>9}{'wasted':>9}{'back':>9}\n"
    f"{'target':<22}{'':>7}{'<=0.5%':>9}{'':>11}{'':>9}{'<=1%':>9}{'<=60 s':>9}"
)


def _line(result: Result) -> str:
    opened, back = _seconds(result.opened_after), _seconds(result.recovered_after)
    line = (
        f"{result.name:<22}{result.calls:>7}{result.failed_share:>9.2%}"
        f"{result.unprotected_share:>11.1%}{opened:>9}{result.wasted_share:>9.2%}{back:>9}"
    )
    return f"{line}  first error: {result.first_error}" if result.first_error else line


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    names = [*(outage.name for outage in OUTAGES), "storm"]
    parser.add_argument("--only", action="append", choices=names, help="only this one; repeatable")
    parser.add_argument("--rate", type=float, default=RATE, help="calls a second, of all tenants")
    return parser


if __name__ == "__main__":
    sys.exit(main())
