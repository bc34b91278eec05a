"""Decide whether a target is meant for a call, by conditions from a closed set. No expressions, no code.

All conditions of a target must hold. A word that is not known is refused when the row is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from routing.policy.facts import CallFacts

NEEDS = ("files", "reasoning", "structured_output", "tools", "vision")
MAX_CONDITIONS = 20
MAX_NAME = 64
MAX_VALUES = 50
MAX_TEXT = 512
MAX_TOKENS = 100_000_000
TAG = "tags."
WORDS = (
    "route", "stream", "tags.<name>", "key", "input_tokens", "needs", "reasoning_effort",
    "budget_used_percent",
)  # fmt: skip


class Condition(Struct, frozen=True):
    """One word with what it demands: one of `values`, all of them (`needs`), or a number between bounds."""

    word: str
    values: frozenset[Any] = frozenset()
    least: int | None = None
    most: int | None = None

    def holds(self, facts: CallFacts) -> bool:
        """Tell whether the call is as demanded. A fact that is not known is not as demanded."""
        word = self.word
        if word == "needs":
            return self.values <= facts.needs
        if word.startswith(TAG):
            return facts.tags.get(word[len(TAG) :]) in self.values
        value = getattr(facts, word)
        if self.values:
            return value in self.values
        return (
            value is not None
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
        )


class Conditions(Struct, frozen=True):
    """The conditions of a target, all of which must hold. `facts`: the facts about a call they look at."""

    all: tuple[Condition, ...]
    facts: frozenset[str]

    def unmet(self, facts: CallFacts) -> str:
        """Name the first condition that does not hold; empty if all do."""
        for condition in self.all:
            if not condition.holds(facts):
                return condition.word
        return ""


def read(value: Any) -> Conditions | None:
    """Read a row's JSON; None if it has no conditions. Raise ValueError naming what is wrong."""
    if not isinstance(value, dict):
        raise ValueError("Conditions must be an object.")
    if len(value) > MAX_CONDITIONS:
        raise ValueError(f"A target has {MAX_CONDITIONS} conditions at most.")
    found = tuple(_condition(word, demand) for word, demand in value.items())
    if not found:
        return None
    return Conditions(found, frozenset(each.word.partition(".")[0] for each in found))


def _condition(word: Any, demand: Any) -> Condition:
    is_tag = word.startswith(TAG) and 0 < len(word) - len(TAG) <= MAX_NAME
    reader = _text if is_tag else _READERS.get(word)
    if reader is None:
        raise ValueError(f"Unknown condition {word[:100]!r}; known are {', '.join(WORDS)}.")
    return reader(word, demand)


def _stream(word: str, demand: Any) -> Condition:
    if not isinstance(demand, bool):
        raise ValueError("stream is true or false.")
    return Condition(word, frozenset({demand}))


def _text(word: str, demand: Any) -> Condition:
    """Read a text, a list of texts, or the same as `eq` or `in`."""
    if isinstance(demand, dict):
        _refuse_others(word, demand, ("eq", "in"))
        if len(demand) != 1:
            raise ValueError(f"{word} takes either eq or in.")
        demand = demand.get("in", demand.get("eq"))
    return Condition(word, frozenset(_texts(word, demand)))


def _needs(word: str, demand: Any) -> Condition:
    needs = _texts(word, demand)
    if unknown := sorted(set(needs) - set(NEEDS)):
        raise ValueError(f"Unknown need {unknown[0]!r}; known are {', '.join(NEEDS)}.")
    return Condition(word, frozenset(needs))


def _tokens(word: str, demand: Any) -> Condition:
    least, most = _bounds(word, demand, ("gte", "lte"), 0, MAX_TOKENS)
    if least is not None and most is not None and least > most:
        raise ValueError(f"{word}: gte is greater than lte, so it would never hold.")
    return Condition(word, least=least, most=most)


def _percent(word: str, demand: Any) -> Condition:
    """Read a bound below 100: a hard budget that is used up refuses the call before any lane is chosen."""
    least, _ = _bounds(word, demand, ("gte",), 1, 99)
    return Condition(word, least=least)


_READERS: dict[str, Callable[[str, Any], Condition]] = {
    "route": _text,
    "stream": _stream,
    "key": _text,
    "input_tokens": _tokens,
    "needs": _needs,
    "reasoning_effort": _text,
    "budget_used_percent": _percent,
}


def _texts(word: str, demand: Any) -> list[str]:
    given = demand if isinstance(demand, list) else [demand]
    if not all(isinstance(each, str) and 0 < len(each) <= MAX_TEXT for each in given):
        raise ValueError(f"{word} takes texts of 1 to {MAX_TEXT} characters.")
    if not 0 < len(given) <= MAX_VALUES:
        raise ValueError(f"{word} takes 1 to {MAX_VALUES} values.")
    return given


def _bounds(
    word: str, demand: Any, known: Iterable[str], lowest: int, highest: int
) -> tuple[int | None, int | None]:
    names = tuple(known)
    if not isinstance(demand, dict) or not demand:
        raise ValueError(f"{word} takes an object with {' or '.join(names)}.")
    _refuse_others(word, demand, names)
    for value in demand.values():
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise ValueError(f"{word} takes whole numbers from {lowest} to {highest}.")
    return demand.get("gte"), demand.get("lte")


def _refuse_others(word: str, demand: dict[str, Any], known: Iterable[str]) -> None:
    if unknown := sorted(set(demand) - set(known)):
        raise ValueError(f"{word} does not know {unknown[0]!r}; known are {', '.join(known)}.")
