"""Measure what it costs to decide where a call goes: gathering the facts and planning, without the call.

Processor time, in batches, of which the median counts. It is a program of its own because it needs Django's
settings; `python -m bench` runs it and reads its JSON.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median
from types import SimpleNamespace
from typing import Any

import orjson

BATCHES = 300
CALLS_OF_BATCH = 100
TURNS = 40
KILOBYTES = 100


class _Planner:
    """A route with so many lanes of one tier, and calls to it. Made once Django is set up."""

    def __init__(self, lanes: int, strategy: str) -> None:
        from responses_api.calls import facts  # noqa: PLC0415  # after the settings
        from responses_api.doors.registry import RESPONSES  # noqa: PLC0415
        from routing.policy import plan, wants  # noqa: PLC0415
        from routing.policy.affinity import AffinityMemory  # noqa: PLC0415
        from routing.policy.lane_health import LaneHealth  # noqa: PLC0415
        from routing.route import Route, RoutingPolicy  # noqa: PLC0415

        self._gather, self._door, self._plan = facts.gather, RESPONSES, plan.plan
        targets = tuple(_lane(number) for number in range(lanes))
        policy: Any = RoutingPolicy(strategy=strategy)  # type: ignore[arg-type]  # one of its words
        wanted = wants.wanted(targets, policy)
        self.route = Route("m", False, False, targets, policy=policy, wants=wanted)
        state = LaneHealth(in_flight=3, ttft_seconds=0.4)
        self._health: Any = SimpleNamespace(of=lambda lane, now: state)
        self._memory = AffinityMemory()
        self._caller: Any = SimpleNamespace(tenant_id=1, key_public_id="0123456789", budgets=())
        self._call = _long_call()
        self.facts = self.gather()

    def gather(self) -> Any:
        """Gather the facts of a call, whose conversation is long and has no name."""
        return self._gather(self._door, self._caller, self._call, self.route, (), self._memory)

    def plan(self) -> Any:
        return self._plan(self.route, self.facts, self._health, 1_000.0, 0x1234_5678_9ABC_DEF0)


class _Attempt:
    """A call that its first lane answers: choosing the lane, and what its circuits and its load take."""

    def __init__(self) -> None:
        from responses_api.calls.lane_choice import LaneChoice  # noqa: PLC0415  # after the settings
        from routing.health.callers import CallerId  # noqa: PLC0415
        from routing.health.table import LaneTable  # noqa: PLC0415
        from routing.route import USUAL_POLICY  # noqa: PLC0415

        table, caller, lanes = LaneTable(), CallerId(1, 1), (_lane(0),)
        progress: Any = SimpleNamespace(opened_at=time.monotonic())
        self._choice: Any = lambda: LaneChoice(
            table, USUAL_POLICY, caller, lanes, progress,
            all_open=False, streams=True, commit_seconds=15.0, wait_seconds=5.0, whole_seconds=3600.0,
        )  # fmt: skip
        self._headers = [(b"content-type", b"text/event-stream"), *[(b"x-other", b"x")] * 8]

    def make(self) -> None:
        choice = self._choice()
        try:
            choice.next().send(None)
        except StopIteration as chosen:
            passage = chosen.value
        passage.read_limits(self._headers, 1_000.0)
        choice.answered(passage, 0.4)
        passage.leave()
        choice.end()


def _lane(number: int) -> Any:
    from routing.route import Quirks, ResolvedTarget  # noqa: PLC0415
    from tenants.prices.history import History  # noqa: PLC0415
    from tenants.prices.rating import Line, terms  # noqa: PLC0415

    lines = [Line("input_fresh", 3_000_000 + number), Line("output_visible", 15_000_000)]
    prices = History((terms(1, 0.0, lines),))
    return ResolvedTarget(
        provider=f"provider-{number}", protocol="responses", base_url="https://up.example/v1",
        auth_kind="none", secret=None, owns_credential=False, missing_credential=False,
        allow_private_network=False, quirks=Quirks(), model="m", context_window=400_000,
        max_output_tokens=None, capabilities=frozenset({"tools", "vision"}), cost=prices,
        charge=prices, provider_id=number + 1, model_id=number + 1,
        target_spread=(number + 1) * 0x9E37_79B9_7F4A_7C15 & (1 << 64) - 1,
    )  # fmt: skip


def _long_call() -> Any:
    from responses_api.doors.shapes import ModelCall  # noqa: PLC0415

    text = "x" * (KILOBYTES * 1000 // TURNS)
    said = [{"role": "user" if turn % 2 else "assistant", "content": text} for turn in range(TURNS)]
    body = {"model": "m", "instructions": text, "input": [{"role": "user", "content": "Hi"}, *said]}
    return ModelCall("responses", "m", False, False, body, len(orjson.dumps(body)))


def microseconds(
    work: Callable[[], Any], batches: int = BATCHES, calls: int = CALLS_OF_BATCH
) -> float:
    """Return the processor time of one call of `work`."""
    work()
    took = []
    for _ in range(batches):
        began = time.process_time_ns()
        for _ in range(calls):
            work()
        took.append((time.process_time_ns() - began) / calls / 1000)
    return median(took)


def measure() -> dict[str, float]:
    """Return microseconds by what was measured."""
    found = {
        "one lane: plan": microseconds(_Planner(1, "weighted").plan),
        "one lane: facts": microseconds(_Planner(1, "weighted").gather),
        "one lane: attempt": microseconds(_Attempt().make),
    }
    for strategy in ("weighted", "fastest", "least_busy", "cheapest"):
        found[f"three lanes: plan, {strategy}"] = microseconds(_Planner(3, strategy).plan)
    found["three lanes: facts of 100 KB"] = microseconds(_Planner(3, "weighted").gather)
    found["sixty-four lanes: plan"] = microseconds(_Planner(64, "weighted").plan)
    return found


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
        os.environ["TOLLGATE_DATA_DIR"] = folder
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
        import django  # noqa: PLC0415

        django.setup()
        sys.stdout.write(orjson.dumps(measure()).decode())


if __name__ == "__main__":
    main()
