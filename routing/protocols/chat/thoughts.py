"""Read reasoning as chat vendors send it: three fields for the same thought, of which one is read.

`reasoning_content` (DeepSeek and many), `reasoning` (OpenRouter, vLLM, Groq) and `reasoning_details`
(OpenRouter) often come together and repeat each other. The first that holds text is read to the end; of
the details only what must be sent back is kept besides.
https://openrouter.ai/docs/guides/best-practices/reasoning-tokens
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway_project.lib.json import Json
from routing.protocols.shared import envelope
from routing.protocols.shared.deltas import Reasoning
from routing.protocols.shared.fields import dicts, number, text

FIELDS = ("reasoning_details", "reasoning_content", "reasoning")
_DETAILS = FIELDS[0]
_GROWING = frozenset({"text", "summary", "data"})
_SEALS = ("data", "signature")
_KINDS: dict[str, tuple[str, Literal["summary", "raw"]]] = {
    "reasoning.summary": ("summary", "summary"),
    "reasoning.text": ("text", "raw"),
}


@dataclass(slots=True)
class _Detail:
    """A detail put together from its pieces; text grows, everything else is set."""

    fields: Json
    pieces: dict[str, list[str]]

    def goes_on_with(self, piece: Json) -> bool:
        """Tell whether a piece belongs to this; encrypted ones without an index are each their own."""
        fields = self.fields
        if (fields.get("type"), fields.get("index")) != (piece.get("type"), piece.get("index")):
            return False
        if fields.get("id") and piece.get("id") and fields["id"] != piece["id"]:
            return False
        return piece.get("index") is not None or piece.get("type") in _KINDS

    def add(self, piece: Json) -> None:
        for name, value in piece.items():
            if name in _GROWING and isinstance(value, str):
                self.pieces.setdefault(name, []).append(value)
            if name not in self.fields or (value is not None and value != ""):
                self.fields[name] = value

    def whole(self) -> Json:
        return {**self.fields, **{name: "".join(said) for name, said in self.pieces.items()}}


class Thoughts:
    """The reasoning of one answer. Whatever is said in between separates one block from the next."""

    __slots__ = ("_block", "_details", "_provider", "_source", "pending")

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._block = 0
        self._details: list[_Detail] = []
        self._source = ""
        self.pending = False

    def take(self, message: Json) -> list[Reasoning]:
        """Read a delta or a whole message."""
        details = dicts(message.get(_DETAILS))
        for detail in details:
            self._keep(detail)
        if not self._source:
            self._source = _first_with_text(message, details)
        if self._source == _DETAILS:
            return [piece for detail in details for piece in self._of_detail(detail)]
        return self.said(text(message.get(self._source)))

    def said(self, words: str) -> list[Reasoning]:
        """Take in a thought without any structure."""
        if not words:
            return []
        self.pending = True
        return [Reasoning(("reasoning", self._block), words, "raw")]

    def close(self) -> list[Reasoning]:
        """End the block, now that something else is said: give what must be sent back, if anything.

        The details go back as one list, in order and unmodified, so the seal holds all of them.
        """
        if not self.pending:
            return []
        key, details = ("reasoning", self._block), [detail.whole() for detail in self._details]
        self._block, self._details, self.pending = self._block + 1, [], False
        if not any(detail.get(name) for detail in details for name in _SEALS):
            return []
        payload = envelope.pack("chat", self._provider, {_DETAILS: details})
        return [Reasoning(key, "", sealed=payload)]

    def _of_detail(self, detail: Json) -> list[Reasoning]:
        field, kind = _KINDS.get(text(detail.get("type")), ("", "raw"))
        words = text(detail.get(field))
        if not words:
            return []
        return [Reasoning(("reasoning", self._block), words, kind, number(detail.get("index")))]

    def _keep(self, piece: Json) -> None:
        """Put the pieces of a streamed detail together again."""
        self.pending = True
        detail = next((known for known in self._details if known.goes_on_with(piece)), None)
        if detail is None:
            detail = _Detail({}, {})
            self._details.append(detail)
        detail.add(piece)


def _first_with_text(message: Json, details: list[Json]) -> str:
    if any(text(detail.get(field)) for detail in details for field, _ in _KINDS.values()):
        return _DETAILS
    return next((name for name in FIELDS[1:] if text(message.get(name))), "")
