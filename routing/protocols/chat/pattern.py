"""Read a chunk that differs from the one before in a piece of text alone, without parsing it.

Most chunks of a stream do. What stands around the text of one is kept as bytes; of the next that begins and
ends with the same bytes, only the text is read.
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway_project.lib.json import Json
from gateway_project.lib.sse import Frame

# How often a pattern is looked for in a stream. One whose chunks change again and again is parsed.
MOST_PATTERNS = 16
# Fields of a chunk, of its choice and of its delta that have to be read wherever they hold something.
_OF_CHUNK = ("citations", "error", "search_results", "usage", "x_groq")
_OF_CHOICE = ("finish_reason", "index", "logprobs", "usage")
_OF_DELTA = (
    "annotations",
    "function_call",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "refusal",
    "tool_calls",
)


class TextPattern:
    """The pattern of a stream's last chunk, if it held text and nothing else that has to be read again."""

    __slots__ = ("_after", "_before", "left")

    def __init__(self, most: int = MOST_PATTERNS) -> None:
        self._before = self._after = b""
        self.left = most

    def text(self, frame: Frame) -> str | None:
        """Return the text of a chunk of this pattern. Any other ends the pattern: None."""
        before, after = self._before, self._after
        if not before:
            return None
        event, data = frame
        if not event and data.startswith(before) and data.endswith(after):
            try:
                found = orjson.loads(data[len(before) : -len(after)])
            except orjson.JSONDecodeError:
                found = None
            if found.__class__ is str:
                return str(found)
        self._before = b""
        return None

    def learn(self, data: bytes, chunk: Json, words: str) -> None:
        """Keep what stands around the text of a chunk that was read, if it says nothing else."""
        if self.left <= 0 or not _says_only_text(chunk):
            return
        self.left -= 1
        quoted = orjson.dumps(words)
        before, found, after = data.partition(quoted)
        if found and quoted not in after and _holds_text_at(before, after, chunk):
            self._before, self._after = before, after


def _says_only_text(chunk: Json) -> bool:
    choices = chunk.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or chunk.get("object") == "error":
        return False
    choice = choices[0]
    delta = choice.get("delta") if isinstance(choice, dict) else None
    return (
        isinstance(delta, dict)
        and isinstance(delta.get("content"), str)
        and not any(name in chunk and chunk[name] is not None for name in _OF_CHUNK)
        and choice.get("finish_reason") is None
        and not any(choice.get(name) for name in _OF_CHOICE)
        and not any(delta.get(name) for name in _OF_DELTA)
    )


def _holds_text_at(before: bytes, after: bytes, chunk: Json) -> bool:
    """Tell whether the delta's content stands between these bytes, and not the same text of another field."""
    choice = chunk["choices"][0]
    other: dict[str, Any] = {**choice, "delta": {**choice["delta"], "content": 0}}
    try:
        return bool(orjson.loads(before + b"0" + after) == {**chunk, "choices": [other]})
    except orjson.JSONDecodeError:
        return False
