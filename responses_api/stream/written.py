"""Measure how much of an answer the model wrote, in bytes of text, where the provider does not say.

Only what a model writes counts. Ids, sealed payloads, audio and images as base64 do not: their size says
nothing of tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway_project.lib.json import Json

_NOT_WRITTEN = frozenset({"role", "id", "type"})
_OF_AN_ITEM = frozenset({"name", "arguments", "input", "text", "refusal"})
_PARTS_OF_AN_ITEM = ("content", "summary")


def text_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def of_message(message: Json) -> int:
    """Measure a chat completion's message, or a piece of one."""
    size = 0
    for name, value in message.items():
        if isinstance(value, str):
            # vLLM tells a thought under both of its names.
            if name not in _NOT_WRITTEN and (
                name != "reasoning" or "reasoning_content" not in message
            ):
                size += len(value) if value.isascii() else text_bytes(value)
        elif value and name in _NESTED:
            size += _NESTED[name](value)
    return size


def of_items(items: Any) -> int:
    """Measure a Response's output."""
    return sum(map(of_item, _objects(items)))


def of_item(item: Json) -> int:
    """Measure one item of a Response's output."""
    parts = [part for name in _PARTS_OF_AN_ITEM for part in _objects(item.get(name))]
    return sum(
        text_bytes(value)
        for fields in (item, *parts)
        for name, value in fields.items()
        if name in _OF_AN_ITEM and isinstance(value, str)
    )


def _of_calls(calls: Any) -> int:
    return sum(_of_call(call.get("function") or call.get("custom")) for call in _objects(calls))


def _of_call(called: Any) -> int:
    """Measure a function's name and arguments, or a custom tool's name and input."""
    if not isinstance(called, dict):
        return 0
    return sum(text_bytes(value) for value in called.values() if isinstance(value, str))


def _of_parts(parts: Any) -> int:
    """Measure content as a list, where Mistral's models think:
    https://docs.mistral.ai/capabilities/reasoning"""
    size = 0
    for part in _objects(parts):
        thought = part.get("thinking")
        pieces = (part, *_objects(thought), {"text": thought})
        size += sum(text_bytes(p["text"]) for p in pieces if isinstance(p.get("text"), str))
    return size


def _of_audio(audio: Any) -> int:
    transcript = audio.get("transcript") if isinstance(audio, dict) else None
    return text_bytes(transcript) if isinstance(transcript, str) else 0


def _objects(values: Any) -> list[Json]:
    return (
        [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
    )


_NESTED: dict[str, Callable[[Any], int]] = {
    "tool_calls": _of_calls,
    "function_call": _of_call,
    "content": _of_parts,
    "audio": _of_audio,
}
