"""Generate clients' requests: bodies of every kind, with a marker that upstream and ledger both keep."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from bench.chaos.rates import CHARGES
from gateway_project.lib.json import Json

KINDS = {
    "chat json": 4,
    "chat stream": 4,
    "responses json": 4,
    "responses stream": 4,
    "websocket": 4,
    "background": 1,
    "chat json idempotent": 1,
    "responses stream idempotent": 1,
}
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses"}
MOST_CHUNKS = 200
MOST_WHOLE_TOKENS = 48
_PACED = 0.35


@dataclass(frozen=True, slots=True)
class Wish:
    """One thing a client wants done."""

    marker: str
    kind: str
    alias: str
    body: Json

    @property
    def path(self) -> str:
        return PATHS["chat" if self.kind.startswith("chat") else "responses"]

    @property
    def is_stream(self) -> bool:
        return self.body.get("stream") is True


def wish(number: int, chance: Random) -> Wish:
    """Return a random wish over a random upstream, some slow enough to be killed midway."""
    marker = f"chaos-{number:07}"
    kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
    alias = chance.choice(list(CHARGES))
    body: Json = {"model": alias, "metadata": {"chaos": marker}}
    words = f"{marker} says {'something ' * chance.randrange(1, 8)}{_orders(kind, chance)}"
    if kind.startswith("chat"):
        body["messages"] = [{"role": "user", "content": words}]
    else:
        body |= {"input": words, "store": kind == "background" or chance.random() < 0.2}
    if kind == "background":
        body["background"] = True
    if "stream" in kind:
        body["stream"] = True
    if kind == "websocket":
        body["type"] = "response.create"
    return Wish(marker, kind, alias, body)


def _orders(kind: str, chance: Random) -> str:
    """Return directives to the sandbox: how much it says, and how slowly. Four bytes are a token here and
    there.
    """
    reason = "[reason]" if chance.random() < 0.1 else ""
    is_slow = chance.random() < _PACED
    if "json" in kind:
        wait = f"[wait={chance.randrange(5, 200)}]" if is_slow else ""
        return f"[size={4 * chance.randrange(1, MOST_WHOLE_TOKENS)}]{wait}{reason}"
    chunks = chance.randrange(2, MOST_CHUNKS)
    pace = f"[pace={chance.randrange(2, 8)}]" if is_slow else ""
    return f"[chunks={chunks}][size={4 * chunks}]{pace}{reason}"
