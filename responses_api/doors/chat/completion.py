"""Put a whole chat completion together from the chunks of a stream."""

from __future__ import annotations

from typing import Any

from gateway_project.lib.json import Json
from responses_api.stream.upstream_reader import Identity
from routing.protocols.shared.fields import dicts

_SET = frozenset({"role", "id", "type", "index", "name"})  # what a later piece replaces; texts grow


class Completion:
    """Take every chunk; `whole()` is what the same call would have given without streaming.

    Fields nobody here knows are kept as they came last.
    """

    __slots__ = ("_choices", "_fields", "_identity")

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._fields: Json = {}
        self._choices: dict[int, Json] = {}

    def add(self, chunk: Json) -> None:
        for name, value in chunk.items():
            if name not in {"choices", "obfuscation"} and value is not None:
                self._fields[name] = value
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._add_choice(choice)

    @property
    def usage(self) -> Any:
        """Return the last reported usage; None if there was none."""
        return self._fields.get("usage")

    def whole(self) -> Json:
        own = {
            "id": self._identity.id,
            "object": "chat.completion",
            "created": self._identity.created_at,
            "model": self._identity.model,
        }
        choices = [self._choices[index] for index in sorted(self._choices)]
        for choice in choices:
            for call in dicts(choice["message"].get("tool_calls")):
                call.pop("index", None)  # it only tells the pieces of a stream apart
        return {**self._fields, **own, "choices": choices}

    def _add_choice(self, choice: Json) -> None:
        index = choice.get("index")
        index = index if isinstance(index, int) else 0
        message: Json = {"role": "assistant", "content": None, "refusal": None}
        known = self._choices.setdefault(
            index, {"index": index, "message": message, "logprobs": None, "finish_reason": None}
        )
        if choice.get("finish_reason") is not None:
            known["finish_reason"] = choice["finish_reason"]
        if isinstance(choice.get("logprobs"), dict):
            known["logprobs"] = _grow(known["logprobs"], choice["logprobs"])
        delta = choice.get("delta")
        if isinstance(delta, dict):
            known["message"] = _grow(known["message"], delta)


def _grow(known: Any, piece: Any) -> Any:
    """Add the next piece of a value to what is known of it: texts and lists grow, objects by field, and
    list entries with an `index` are pieces of one another."""
    if piece is None:
        return known
    match known, piece:
        case dict(), dict():
            return {**known, **{n: _field(n, known.get(n), value) for n, value in piece.items()}}
        case str(), str():
            return known + piece
        case list(), list():
            return _longer(known, piece)
        case None, list():
            return _longer([], piece)
    return piece


def _field(name: str, known: Any, piece: Any) -> Any:
    if name in _SET:
        return known if piece is None or piece == "" else piece
    return _grow(known, piece)


def _longer(known: list[Any], pieces: list[Any]) -> list[Any]:
    grown = list(known)
    for piece in pieces:
        index = piece.get("index") if isinstance(piece, dict) else None
        place = next(
            (
                n
                for n, entry in enumerate(grown)
                if index is not None and isinstance(entry, dict) and entry.get("index") == index
            ),
            None,
        )
        if place is None:
            grown.append(piece)
        else:
            grown[place] = _grow(grown[place], piece)
    return grown
