"""Measure what guardrails cost a delta of an answer and a kilobyte of a request, and how much they hold back.

Beside the cost of a delta stands that of translating it without them. It is a program of its own, so that
nothing else of a gateway runs beside it; `python -m bench` runs it and reads its JSON.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
from msgspec import structs

from bench.calls import SENTENCE
from gateway_project.lib.sse import Frame, Parser
from responses_api.doors.plan import Plan
from responses_api.doors.registry import BRIDGES, DOORS
from responses_api.guardrails.engine import Engine, compile_guardrails
from responses_api.guardrails.masks import Masks
from responses_api.guardrails.spec import GuardrailSpec, RequestContents, RequestSegment
from responses_api.guardrails.window import HoldBackWindow
from responses_api.stream.upstream_reader import Identity
from routing.route import Quirks, ResolvedTarget

ROUNDS = 30
DELTAS = 1_000
REQUEST_KILOBYTES = 64
STAGES = frozenset({"input", "output", "tools"})
# The largest list that is allowed.
TERMS = [f"codename{number:04d} of project {number % 97}" for number in range(5_000)]
KINDS: dict[str, dict[str, Any]] = {
    "terms": {"terms": TERMS},
    "pattern": {"patterns": [{"name": "ticket", "pattern": r"\bTICKET-\d{4,8}\b"}]},
    "pii": {},
    "secrets": {},
}
TARGET = ResolvedTarget(
    provider="bench",
    protocol="chat",
    base_url="http://upstream.invalid/v1",
    auth_kind="none",
    secret=None,
    owns_credential=False,
    missing_credential=False,
    allow_private_network=False,
    quirks=Quirks(),
    model="m",
    context_window=None,
    max_output_tokens=None,
    capabilities=frozenset(),
)


def engine(*kinds: str) -> Engine:
    """Compile guardrails of these kinds, which mask."""
    return compile_guardrails(
        GuardrailSpec(number, kind, 1, kind, "mask", STAGES, KINDS[kind])  # type: ignore[arg-type]
        for number, kind in enumerate(kinds)
    )


def pieces(count: int) -> list[str]:
    """Tear prose into pieces as long as tokens are."""
    chance, text, at = random.Random(1), SENTENCE * count, 0  # no secret
    made: list[str] = []
    while len(made) < count:
        size = chance.choice((3, 4, 5, 6))
        made.append(text[at : at + size])
        at += size
    return made


def frames(said: list[str]) -> list[list[Frame]]:
    """Write a chat stream of these pieces, each read by itself."""
    parser = Parser()
    return [
        parser.feed(
            b'data: {"choices":[{"index":0,"delta":{"content":%b}}]}\n\n' % orjson.dumps(piece)
        )
        for piece in said
    ]


def plan(guard: Engine | None) -> Plan:
    """Plan a translation of such a stream."""
    call = DOORS["responses"].decode(b'{"model":"m","input":"Hi","stream":true}', None)  # type: ignore[arg-type]
    if guard is not None:
        call = structs.replace(call, guard=guard.output_guard(Masks(), lambda finding: None))
    bridge = BRIDGES["responses", "chat"]
    return bridge.plan(call, replace(TARGET), Identity("resp_1", "m", 1), drop_unsupported=True)


def per_delta(guards: dict[str, Engine | None]) -> dict[str, float]:
    """Return by name the least microseconds of processor time that a delta took. They take turns, so that a
    disturbance meets all alike."""
    read = frames(pieces(DELTAS))

    def stream(guard: Engine | None) -> None:
        forward = plan(guard).reader.forward
        for each in read:
            forward(each)

    least = dict.fromkeys(guards, float("inf"))
    for _ in range(ROUNDS):
        for name, guard in guards.items():
            took = _took(lambda guard=guard: stream(guard))  # type: ignore[misc]
            least[name] = min(least[name], took / DELTAS)
    return least


def held(guard: Engine) -> tuple[float, int]:
    """Return how many characters wait, on average and at most."""
    filtered = guard.output_guard(Masks(), lambda finding: None)
    assert filtered is not None
    window, waiting = HoldBackWindow(filtered.scanner, lambda hit: True), []
    for piece in pieces(DELTAS):
        window.feed(piece)
        waiting.append(window.held)
    return sum(waiting) / len(waiting), max(waiting)


def per_kilobyte(guard: Engine) -> float:
    """Return the least microseconds of processor time that a kilobyte of a harmless request took."""
    text = (SENTENCE * 1_000)[: 1_024 * REQUEST_KILOBYTES // 16]
    contents = RequestContents(
        tuple(RequestSegment("message", "user", "input", text) for _ in range(16))
    )
    return _least(lambda: guard.check_request(contents)) / REQUEST_KILOBYTES


def _least(work: Callable[[], object]) -> float:
    return min(_took(work) for _ in range(ROUNDS))


def _took(work: Callable[[], object]) -> float:
    began = time.process_time_ns()
    work()
    return (time.process_time_ns() - began) / 1e3


def main() -> None:
    """Print the figures as JSON."""
    every = engine(*KINDS)
    average, most = held(every)
    took = per_delta({"plain": None, **{name: engine(name) for name in KINDS}, "all": every})
    told = {
        "plain": took.pop("plain"),
        "kinds": took,
        "kilobyte": per_kilobyte(every),
        "held": {"average": average, "most": most},
    }
    sys.stdout.buffer.write(orjson.dumps(told))


if __name__ == "__main__":
    main()
