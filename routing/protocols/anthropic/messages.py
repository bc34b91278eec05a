"""Write the conversation of a canonical request as Anthropic's system blocks and messages.

Roles alternate here, a user speaks first and last, and the results of a turn's calls open the next message
(docs/wire.md 9.2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway_project.lib.json import Json
from gateway_project.lib.structure import is_json
from routing.protocols.shared import envelope, files
from routing.protocols.shared.conversation import (
    CALLS,
    CallIds,
    Located,
    Turn,
    arguments,
    instructions,
    kind_of,
    nothing_said,
    output_text,
    parts,
    text_of,
    turns,
)
from routing.protocols.shared.tools import Toolbox
from routing.route import ResolvedTarget

MAX_CALL_ID = 64
# What stands where Anthropic demands a user's word and nobody spoke: before an assistant that speaks
# first, and after one that speaks last. Without it the last answer would be taken for a beginning to
# complete, and newer models refuse that.
GO_ON = "Continue."


@dataclass(slots=True)
class Spoken:
    """`called` are the tools that calls of the history name."""

    system: list[Json] = field(default_factory=list)
    messages: list[Json] = field(default_factory=list)
    called: set[str] = field(default_factory=set)


def write_conversation(canonical: Json, toolbox: Toolbox, target: ResolvedTarget) -> Spoken:
    """Write the conversation. Raises BadRequest naming the item that Anthropic does not have."""
    writer = _AnthropicWriter(toolbox, target)
    if said := instructions(canonical):
        writer.spoken.system.append(_text(said))
    given = turns(canonical["input"])
    for turn in given:
        writer.write(turn)
    found = writer.spoken
    # A blank word of the user's is a word; thoughts of another vendor alone are none.
    if not (found.messages or found.system or any(turn.role != "assistant" for turn in given)):
        raise nothing_said()
    if not found.messages or found.messages[0]["role"] == "assistant":
        found.messages.insert(0, {"role": "user", "content": [_text(GO_ON)]})
    if found.messages[-1]["role"] == "assistant":
        found.messages.append({"role": "user", "content": [_text(GO_ON)]})
    return found


class _AnthropicWriter:
    def __init__(self, toolbox: Toolbox, target: ResolvedTarget) -> None:
        self.spoken = Spoken()
        self._toolbox = toolbox
        self._target = target
        self._ids = CallIds(MAX_CALL_ID)

    def write(self, turn: Turn) -> None:
        if turn.role == "assistant":
            self._write_assistant(turn)
            return
        located = turn.items[0]
        content = located.item.get("content")
        if turn.role == "system":
            self._write_system(text_of(content))
        else:
            self._say("user", blocks(content, f"{located.at}.content"))

    def _write_system(self, text: str) -> None:
        """Make the system prompt of what opens the conversation. What comes later stands in its place, as
        a marked part of the user's turn: not every model takes system messages between others."""
        if not text.strip():
            return
        if self.spoken.messages:
            self._say("user", [_text(f"<system>\n{text}\n</system>")])
        else:
            self.spoken.system.append(_text(text))

    def _write_assistant(self, turn: Turn) -> None:
        said: list[Json] = []
        ids: list[str] = []
        for located in turn.items:
            item, kind = located.item, kind_of(located.item)
            if kind == "message":
                said += blocks(item.get("content"), f"{located.at}.content")
            elif kind in CALLS:
                ids.append(self._ids.for_call(item["call_id"]))
                said.append(self._tool_use(item, ids[-1]))
            elif (thought := _thinking(item, self._target)) is not None:
                said.append(thought)
        self._say("assistant", _without_lone_thoughts(said))
        self._say("user", [_result(*pair) for pair in zip(ids, turn.results, strict=True)])

    def _tool_use(self, item: Json, call_id: str) -> Json:
        name = self._toolbox.wire_name_of(item)
        self.spoken.called.add(name)
        return {"type": "tool_use", "id": call_id, "name": name, "input": _input(item)}

    def _say(self, role: str, said: list[Json]) -> None:
        """Join content to the message before it, if that is of the same role."""
        messages = self.spoken.messages
        if not said:
            return
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += said
        else:
            messages.append({"role": role, "content": said})


def _without_lone_thoughts(said: list[Json]) -> list[Json]:
    """Drop a turn of thoughts alone, which was broken off: Anthropic wants something said with them."""
    thoughts = {"thinking", "redacted_thinking"}
    return said if any(block["type"] not in thoughts for block in said) else []


def _thinking(item: Json, target: ResolvedTarget) -> Json | None:
    """Replay the thought as this provider signed it; it cannot use another's."""
    match envelope.opened_for(target, item.get("encrypted_content")):
        case {"type": "redacted_thinking"} | {"type": "thinking", "thinking": str()} as block:
            return dict(block)
        case {"signature": str(signature)} | str(signature):
            text = text_of(item.get("summary"), joint="") or text_of(item.get("content"), joint="")
            return {"type": "thinking", "thinking": text, "signature": signature}
    return None


def _input(item: Json) -> orjson.Fragment | Json:
    """Arguments that are an object as they are written: taken apart they could be a million values."""
    given = arguments(item)
    is_object = given.lstrip(" \t\r\n").startswith("{") and is_json(given)
    return orjson.Fragment(given) if is_object else {"arguments": given}


def _result(call_id: str, output: Located) -> Json:
    content = output.item.get("output")
    if isinstance(content, list):
        said: str | list[Json] = blocks(content, f"{output.at}.output")
    else:
        said = output_text(content)
    result: Json = {"type": "tool_result", "tool_use_id": call_id}
    return {**result, "content": said} if said else result


_TEXTS = ("input_text", "output_text", "text")


def blocks(content: Any, at: str) -> list[Json]:
    """Write a content as blocks; blank text is left out, because Anthropic refuses it."""
    if content.__class__ is str:
        return [_text(content)] if content.strip() else []
    made: list[Json] = []
    for j, part in enumerate(parts(content)):
        is_text = part.get("type") in _TEXTS
        block = _text_or_none(part.get("text")) if is_text else _block(part, f"{at}[{j}]")
        if block is not None:
            made.append(block)
    return made


def _block(part: Json, at: str) -> Json | None:
    match part.get("type"):
        case "refusal":
            return _text_or_none(part.get("refusal"))
        case "input_image":
            return _image(part, at)
        case "input_file":
            return _document(part, at)
    raise files.unsupported(part, at)


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _text_or_none(text: Any) -> Json | None:
    return _text(text) if isinstance(text, str) and text.strip() else None


def _image(part: Json, at: str) -> Json:
    files.refuse_id(part, at)
    url = part.get("image_url")
    if not isinstance(url, str):
        raise files.unsupported(part, at)
    content = files.in_data_url(url, f"{at}.image_url")
    if content is None:
        return {"type": "image", "source": {"type": "url", "url": url}}
    return {"type": "image", "source": _base64(content)}


def _base64(content: files.Content) -> Json:
    return {"type": "base64", "media_type": content.media_type, "data": content.data}


def _document(part: Json, at: str) -> Json:
    content = files.in_file(part, at)
    if content is not None and content.media_type.startswith("image/"):
        return {"type": "image", "source": _base64(content)}
    document: Json = {"type": "document", "source": _source(part, content, at)}
    if name := part.get("filename"):
        document["title"] = name
    return document


def _source(part: Json, content: files.Content | None, at: str) -> Json:
    if content is None:
        url = part.get("file_url")
        if not isinstance(url, str):
            raise files.unsupported(part, at)
        return {"type": "url", "url": url}
    if content.is_text:
        text = content.text(f"{at}.file_data")
        return {"type": "text", "media_type": "text/plain", "data": text}
    return _base64(content)
