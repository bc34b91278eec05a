"""Define how a door gives an answer again that was made for an equal request.

Each door whose answers can be kept has a `Replay`. What is kept is the finished object in the door's own
shape, without what is the first client's alone; JSON and streams are both written from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from gateway_project.lib.json import Json
from responses_api.doors.shapes import ModelCall
from responses_api.stream.answer_charge import AnswerCharge
from responses_api.stream.upstream_reader import Identity

# What of a request makes no difference to its answer. Everything else does, known or not.
NO_DIFFERENCE = frozenset(
    {
        "client_metadata",
        "metadata",
        "prompt_cache_key",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "user",
    }
)
# Of a kept answer: what belongs to the call it was made for.
OF_ONE_CALL = NO_DIFFERENCE - {"service_tier"}
PIECE_CHARACTERS = 256
# A larger answer is not given again.
MAX_KEPT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Replay:
    """Say how answers are kept and given again.

    content    the part of a body that tells whether two requests are equal: without what makes no difference,
               and with ids of items and of tool calls by their place alone
    obstacle   name what keeps the answer to a body from being given again; empty if nothing does
    is_whole   tell whether a finished answer can be given again: nothing is missing and its shape is known
    kept       take out of an answer what is its own call's
    renewed    make a kept answer that of another call, with new ids
    new_ids    name the ids of items in a renewed answer, all of which `ids.item_id` made; None if there are
               others
    with_usage tell in an answer's usage what was charged
    events     write an answer as the pieces of a stream, of which the last ends it
    unstored   say in an answer that it could not be stored
    """

    content: Callable[[Json], Json]
    obstacle: Callable[[Json], str]
    is_whole: Callable[[Json], bool]
    kept: Callable[[Json], Json]
    renewed: Callable[[Json, ModelCall, Identity], Json]
    new_ids: Callable[[Json], list[str] | None]
    with_usage: Callable[[Json, AnswerCharge], Json]
    events: Callable[[Json, ModelCall, Identity], Iterator[bytes]]
    unstored: Callable[[Json], Json]


class Places:
    """Number ids in the order in which they appear, so that they can be compared by their place."""

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers: dict[str, str] = {}

    def of(self, given: Any) -> Any:
        """Return an id's number, and what is no id as it is."""
        if given.__class__ is not str:
            return given
        return self._numbers.setdefault(given, f"#{len(self._numbers)}")


def without(body: Json, names: frozenset[str]) -> Json:
    """Return a body without these fields."""
    return {name: value for name, value in body.items() if name not in names}


def is_whole_json(arguments: Any) -> bool:
    """Tell whether a call's arguments are all there: JSON, or nothing for a function that takes none."""
    if not isinstance(arguments, str):
        return False
    try:
        orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        return False
    return True


def is_hosted(tools: Any) -> bool:
    """Tell whether any of these tools is run by the provider, or is of a kind not known here."""
    if not isinstance(tools, list):
        return tools is not None
    return any(
        tool.get("type") not in _CLIENTS_TOOLS or is_hosted(tool.get("tools", []))
        if isinstance(tool, dict)
        else True
        for tool in tools
    )


_CLIENTS_TOOLS = frozenset({"custom", "function", "namespace"})


def pieces(text: str) -> Iterator[str]:
    """Cut a text as it is streamed."""
    for first in range(0, len(text), PIECE_CHARACTERS):
        yield text[first : first + PIECE_CHARACTERS]


def logged_pieces(text: str, logprobs: Iterable[Json]) -> Iterator[tuple[str, tuple[Json, ...]]]:
    """Cut a text with the probabilities of its tokens: between tokens, where these make up the text."""
    entries = tuple(logprobs)
    tokens = [entry.get("token") for entry in entries]
    if not entries or not all(isinstance(token, str) for token in tokens):
        yield from _all_with_the_first(text, entries)
        return
    if "".join(map(str, tokens)) != text:
        yield from _all_with_the_first(text, entries)
        return
    begun, size = 0, 0
    for place, token in enumerate(tokens):
        if size and size + len(str(token)) > PIECE_CHARACTERS:
            yield "".join(map(str, tokens[begun:place])), entries[begun:place]
            begun, size = place, 0
        size += len(str(token))
    yield "".join(map(str, tokens[begun:])), entries[begun:]


def _all_with_the_first(
    text: str, entries: tuple[Json, ...]
) -> Iterator[tuple[str, tuple[Json, ...]]]:
    for place, piece in enumerate(pieces(text)):
        yield piece, entries if place == 0 else ()
