"""Read what a request asks for, whichever protocol it came in."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from gateway_project.lib.json import Json

_DIRECTIVE = re.compile(
    r"\[(tools?|reason|think|chunks|pace|size|wait|refuse|after|unlimited)(?:=(\d{1,9}))?\]"
)


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool the caller can run."""

    name: str
    kind: Literal["function", "custom"] = "function"
    schema: object = None
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """A request without its protocol.

    `results` are the tool results that follow the last user text, `answered` the names of the tools that
    gave them. `schema` is the JSON schema of the answer, `{}` for any JSON object, or None for free text.
    A request for compaction wants no answer.
    """

    text: str
    results: tuple[str, ...]
    input_bytes: int
    answered: frozenset[str] = frozenset()
    offers: tuple[Offer, ...] = ()
    must_call: bool = False
    parallel: bool = True
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    schema: Json | None = None
    reason: bool = False
    choices: int = 1
    compact: bool = False


class Thread:
    """Gathers the last user text and the tool results after it, message by message."""

    def __init__(self) -> None:
        self.text = ""
        self.results: list[str] = []
        self.bytes = 0
        self._called: dict[object, str] = {}
        self._answered: set[str] = set()

    @property
    def answered(self) -> frozenset[str]:
        return frozenset(self._answered)

    def user(self, content: object) -> None:
        if found := self.other(content):
            self.text = found[-1]
            self.results = []
            self._answered.clear()

    def call(self, call_id: object, name: object) -> None:
        if isinstance(call_id, str) and isinstance(name, str):
            self._called[call_id] = name

    def result(self, content: object, call_id: object = None) -> None:
        self.results.append("\n".join(self.other(content)))
        if isinstance(call_id, str) and call_id in self._called:
            self._answered.add(self._called[call_id])

    def other(self, content: object) -> list[str]:
        found = texts(content)
        self.bytes += sum(map(len, found))
        return found


def texts(content: object) -> list[str]:
    """Return the strings of a message's content, which is a string or a list of typed parts."""
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        return []
    return [
        part["text"]
        for part in content
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    ]


def directives(text: str) -> dict[str, int]:
    """Return the `[name]` and `[name=number]` directives in a text; one without a number counts as 1."""
    if "[" not in text:
        return {}
    return {found[1]: int(found[2] or 1) for found in _DIRECTIVE.finditer(text)}


def without_directives(text: str) -> str:
    return _DIRECTIVE.sub("", text).strip() if "[" in text else text.strip()


def wish(body: Json, *names: str) -> Any:
    """Return the first of the named fields that is present and not null."""
    return next((body[name] for name in names if body.get(name) is not None), None)


def dicts(value: object) -> Iterable[Json]:
    """Return the objects of a list; nothing for anything else: a fake vendor must not fall over."""
    return (entry for entry in value if isinstance(entry, dict)) if isinstance(value, list) else ()


def fields(value: object) -> Json:
    """Return an object, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def strings(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return (
        tuple(entry for entry in value if isinstance(entry, str)) if isinstance(value, list) else ()
    )


def whole_number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
