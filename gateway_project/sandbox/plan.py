"""Decide what to answer: from a request and its directives to a Plan any protocol can render."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Literal

import orjson

from gateway_project.lib.json import Json
from gateway_project.lib.tokens import BYTES_PER_TOKEN
from gateway_project.sandbox import text as words
from gateway_project.sandbox.ask import Offer, PlainRequest, directives, without_directives
from gateway_project.sandbox.schema import smallest

MAX_CHUNKS = 2_000_000
MAX_TEXT_BYTES = 200_000_000
MAX_CALLS = 128
DEFAULT_AFTER = 3

REASONING = "The user wants an answer from the sandbox, so I will give one."
REFUSAL = "I'm sorry, but I cannot assist with that request."

_SHELL_ARGUMENTS = {"exec_command": {"cmd": "echo tollgate"}, "Bash": {"command": "echo tollgate"}}

Stop = Literal["stop", "length", "tool_calls", "stop_sequence", "refusal"]


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A call the model makes. `arguments` is JSON for a function, plain text for a custom tool."""

    offer: Offer
    arguments: str


@dataclass(frozen=True, slots=True)
class ScriptedUsage:
    """Token counts. `cached` is a part of `input`, or beside it if `exclusive`."""

    input: int
    output: int
    reasoning: int = 0
    cached: int = 0
    exclusive: bool = False

    @property
    def total(self) -> int:
        return self.input + self.output + (self.cached if self.exclusive else 0)


@dataclass(frozen=True, slots=True)
class AnswerPlan:
    """One answer before it is rendered. The last three fields are for faults."""

    text: str
    usage: ScriptedUsage
    chunks: int = 0
    reasoning: str = ""
    refusal: str = ""
    tools: tuple[ToolUse, ...] = ()
    stop: Stop = "stop"
    stop_sequence: str | None = None
    choices: int = 1
    compact: bool = False
    pace_ms: int = 0
    wait_ms: int = 0
    after: int = DEFAULT_AFTER
    marked: bool = False
    endless: bool = False
    usage_mode: Literal["once", "none", "twice", "decreasing"] = "once"
    ending: Literal["once", "twice", "error"] = "once"

    def pieces(self) -> Iterator[str]:
        """Return the text as deltas."""
        if self.endless:
            return cycle(words.words(words.FILLER))
        return words.even(self.text, self.chunks) if self.chunks else words.words(self.text)


def make(ask: PlainRequest) -> AnswerPlan:
    """Plan the answer to a request.

    1. Read the directives in the last user text.
    2. Choose tool calls, then the text that goes with them, or a refusal.
    3. Cut the text at a stop sequence and at the token limit.
    4. Count what is left.
    """
    orders = directives(ask.text)
    refusal = REFUSAL if "refuse" in orders else ""
    tools = () if refusal or ask.compact else _calls(ask, orders)
    chunks = min(orders.get("chunks", 0), MAX_CHUNKS)
    text = "" if refusal or ask.compact else _text(ask, orders, chunks, bool(tools))
    text, stop_sequence = _until_stop(text, ask.stops)
    reasoning = REASONING if ask.reason or "reason" in orders else ""
    limit = None if "unlimited" in orders else ask.max_tokens
    hidden, limit = _hidden(orders.get("think", 0), limit)
    text, chunks, reasoning, was_cut = _limited(text, chunks, reasoning, limit)
    pace_ms = orders.get("pace", 0)
    return AnswerPlan(
        text=text,
        usage=_usage(ask, text, chunks, reasoning, refusal, tools, hidden),
        chunks=chunks if text else 0,
        reasoning=reasoning,
        refusal=refusal,
        tools=tools,
        stop=_stop(refusal, tools, was_cut, stop_sequence),
        stop_sequence=stop_sequence,
        choices=ask.choices,
        compact=ask.compact,
        pace_ms=pace_ms,
        wait_ms=orders.get("wait", 0),
        after=orders.get("after", DEFAULT_AFTER),
        marked=bool(pace_ms),
    )


def _calls(ask: PlainRequest, orders: dict[str, int]) -> tuple[ToolUse, ...]:
    """Return the calls that are ordered or required; without either, one of a tool that fits the text."""
    wanted = orders.get("tools") or orders.get("tool") or int(ask.must_call)
    if not wanted:
        return tuple(map(_use, _chosen(ask)))
    if ask.results or not ask.offers:
        return ()
    count = min(wanted, MAX_CALLS if ask.parallel else 1)
    return tuple(_use(ask.offers[number % len(ask.offers)]) for number in range(count))


def _chosen(ask: PlainRequest) -> list[Offer]:
    """Return the first tool whose name shares a word with the user's text and that has not answered it
    yet.
    """
    if not ask.offers:
        return []
    spoken = words.words_of_text(without_directives(ask.text))
    fitting = (
        offer
        for offer in ask.offers
        if offer.name not in ask.answered and not spoken.isdisjoint(words.words_of_name(offer.name))
    )
    return list(islice(fitting, 1))


def _use(offer: Offer) -> ToolUse:
    if offer.kind == "custom":
        return ToolUse(offer, f"plain input for {offer.name}")
    known: Json | None = _SHELL_ARGUMENTS.get(offer.name)
    arguments = known or smallest(offer.schema or {"type": "object"})
    return ToolUse(offer, orjson.dumps(arguments).decode())


def _text(ask: PlainRequest, orders: dict[str, int], chunks: int, calling: bool) -> str:
    size = orders.get("size", chunks * words.FILLER_WORD_BYTES)
    if size:
        return words.filler(min(max(size, chunks), MAX_TEXT_BYTES))
    if calling:
        return ""
    said = without_directives(ask.text)
    if ask.schema is not None:
        value = smallest(ask.schema) if ask.schema else {"message": f"You said: {said}"}
        return orjson.dumps(value).decode()
    if ask.results:
        return f"The tool answered: {words.clip(' / '.join(ask.results), 2000)}"
    if orders.get("tool") or orders.get("tools"):
        return "You asked for a tool call, but the request offers no tool."
    return f"You said: {said}" if said else "Hello from the sandbox. You said nothing."


def _until_stop(text: str, stops: tuple[str, ...]) -> tuple[str, str | None]:
    found = [(text.index(stop), stop) for stop in stops if stop and stop in text]
    if not found:
        return text, None
    place, stop = min(found)
    return text[:place], stop


def _hidden(wished: int, limit: int | None) -> tuple[int, int | None]:
    """Return the tokens of hidden reasoning, and the limit that is left for the answer."""
    if limit is None:
        return wished, None
    hidden = min(wished, limit)
    return hidden, limit - hidden


def _limited(
    text: str, chunks: int, reasoning: str, max_tokens: int | None
) -> tuple[str, int, str, bool]:
    """Cut text, chunks and reasoning at the token limit, and tell whether anything was cut."""
    needed = words.tokens(reasoning) + (chunks or words.tokens(text))
    if max_tokens is None or needed <= max_tokens:
        return text, chunks, reasoning, False
    budget = max_tokens - words.tokens(reasoning)
    if budget <= 0:
        return "", 0, words.first_tokens(reasoning, max_tokens), True
    if chunks:
        return text[: len(text) * budget // chunks], budget, reasoning, True
    return words.first_tokens(text, budget), 0, reasoning, True


def _usage(
    ask: PlainRequest,
    text: str,
    chunks: int,
    reasoning: str,
    refusal: str,
    tools: tuple[ToolUse, ...],
    hidden: int,
) -> ScriptedUsage:
    thought = words.tokens(reasoning) + hidden
    spoken = (chunks or words.tokens(text)) + words.tokens(refusal)
    called = sum(words.tokens(use.offer.name + use.arguments) for use in tools)
    entered = max(1, -(-ask.input_bytes // BYTES_PER_TOKEN))
    return ScriptedUsage(
        entered, max(1, thought + spoken + called) * ask.choices, thought * ask.choices
    )


def _stop(
    refusal: str, tools: tuple[ToolUse, ...], was_cut: bool, stop_sequence: str | None
) -> Stop:
    if refusal:
        return "refusal"
    if was_cut:
        return "length"
    if tools:
        return "tool_calls"
    return "stop_sequence" if stop_sequence is not None else "stop"
