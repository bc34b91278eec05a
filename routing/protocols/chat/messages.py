"""Write the conversation of a canonical request as chat messages."""

from __future__ import annotations

from typing import Any

from gateway_project.lib.errors import UnsupportedParameter
from gateway_project.lib.json import Json
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

MAX_CALL_ID = (
    40  # https://platform.openai.com/docs/api-reference/chat/create: longer ones are refused
)
_TEXTS = frozenset({"input_text", "output_text", "text"})
_DETAILS = frozenset({"auto", "low", "high"})


def write_conversation(canonical: Json, toolbox: Toolbox, target: ResolvedTarget) -> list[Json]:
    """Write the conversation. Raises BadRequest naming the item that chat does not have."""
    role = target.quirks.system_role or "system"
    writer = _ChatWriter(toolbox, target, role)
    if said := instructions(canonical):
        writer.messages.append({"role": role, "content": said})
    for turn in turns(canonical["input"]):
        writer.write(turn)
    if not writer.messages:
        raise nothing_said()
    if target.quirks.strict_alternation:
        return _alternating(writer.messages, role)
    return writer.messages


class _ChatWriter:
    def __init__(self, toolbox: Toolbox, target: ResolvedTarget, system_role: str) -> None:
        self.messages: list[Json] = []
        self._toolbox = toolbox
        self._target = target
        self._system_role = system_role
        self._ids = CallIds(MAX_CALL_ID)

    def write(self, turn: Turn) -> None:
        if turn.role == "assistant":
            self._write_assistant(turn)
            return
        located = turn.items[0]
        content = located.item.get("content")
        if turn.role == "system":
            self.messages.append({"role": self._system_role, "content": text_of(content)})
        else:
            self.messages.append({"role": "user", "content": user_content(content, located.at)})

    def _write_assistant(self, turn: Turn) -> None:
        """Write the texts of one turn as messages of their own; the last one carries the calls."""
        texts: list[str] = []
        calls: list[Json] = []
        thoughts: list[str] = []
        details: list[Any] = []
        for located in turn.items:
            kind = kind_of(located.item)
            if kind == "message":
                texts.append(text_of(located.item.get("content"), joint=""))
            elif kind in CALLS:
                calls.append(self._call(located.item))
            else:
                thoughts.append(thought(located.item))
                details.extend(_details(located.item, self._target))
        texts = [text for text in texts if text]
        if not texts and not calls:
            return
        self.messages += [{"role": "assistant", "content": text} for text in texts]
        if calls:
            message = self.messages.pop() if texts else {"role": "assistant", "content": None}
            self.messages.append({**message, "tool_calls": calls})
            self._add_reasoning("\n\n".join(filter(None, thoughts)))
        if details:
            self.messages[-1]["reasoning_details"] = details
        self._write_results(turn.results, calls)

    def _add_reasoning(self, text: str) -> None:
        """Add the key DeepSeek wants on every turn with calls, if only empty (docs/wire.md 8.5)."""
        if name := self._target.quirks.reasoning_field:
            self.messages[-1][name] = text

    def _call(self, item: Json) -> Json:
        name = self._toolbox.wire_name_of(item)
        function = {"name": name, "arguments": arguments(item)}
        call_id = self._ids.for_call(item["call_id"])
        return {"id": call_id, "type": "function", "function": function}

    def _write_results(self, results: list[Located], calls: list[Json]) -> None:
        """Write tool messages, which hold text only; what else a tool gave follows as the user's."""
        seen: list[Json] = []
        for call, output in zip(calls, results, strict=True):
            text, others = _result(output)
            self.messages.append({"role": "tool", "tool_call_id": call["id"], "content": text})
            if others:
                name = call["function"]["name"]
                seen.append({"type": "text", "text": f"What the tool {name} gave:"})
                seen.extend(others)
        if seen:
            self.messages.append({"role": "user", "content": seen})


def thought(item: Json) -> str:
    """Return the text of a reasoning item: the raw one, or else its summary."""
    return text_of(item.get("content")) or text_of(item.get("summary"), joint="\n\n")


def _details(item: Json, target: ResolvedTarget) -> list[Any]:
    """Return OpenRouter's reasoning details if this very provider gave them."""
    match envelope.opened_for(target, item.get("encrypted_content")):
        case {"reasoning_details": [*details]}:
            return details
    return []


def _result(output: Located) -> tuple[str, list[Json]]:
    content = output.item.get("output")
    if not isinstance(content, list):
        return output_text(content), []
    texts: list[str] = []
    others: list[Json] = []
    for j, part in enumerate(parts(content)):
        if part.get("type") in _TEXTS:
            texts.append(part.get("text") or "")
        else:
            others.append(_part(part, f"{output.at}.output[{j}]"))
    return "\n".join(texts), others


def user_content(content: Any, at: str) -> str | list[Json]:
    """Write a user's content; a single text stays a string, which every vendor takes."""
    if content.__class__ is str:
        return str(content)
    found = parts(content)
    if not found:
        return ""
    if len(found) == 1 and found[0].get("type") in _TEXTS:
        return found[0].get("text") or ""
    return [
        _text(part) if part.get("type") in _TEXTS else _part(part, f"{at}.content[{j}]")
        for j, part in enumerate(found)
    ]


def _text(part: Json) -> Json:
    return {"type": "text", "text": part.get("text") or ""}


def _part(part: Json, at: str) -> Json:
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return _text(part)
        case "refusal":
            return {"type": "text", "text": part.get("refusal") or ""}
        case "input_image":
            return _image(part, at)
        case "input_file":
            return _file(part, at)
        case "input_audio":
            return {"type": "input_audio", "input_audio": part.get("input_audio")}
    raise files.unsupported(part, at)


def _image(part: Json, at: str) -> Json:
    files.refuse_id(part, at)
    url = part.get("image_url")
    if not isinstance(url, str):
        raise files.unsupported(part, at)
    image = {"url": url}
    if detail := part.get("detail"):
        # "original" is the Responses API's alone; no other detail is finer than high.
        image["detail"] = detail if detail in _DETAILS else "high"
    return {"type": "image_url", "image_url": image}


def _file(part: Json, at: str) -> Json:
    content = files.in_file(part, at)
    if content is None:
        raise UnsupportedParameter(
            "This model's provider takes the content of files only; send it in 'file_data'.",
            param=f"{at}.file_url" if part.get("file_url") else at,
        )
    name = part.get("filename") or "file"
    return {"type": "file", "file": {"filename": name, "file_data": content.url}}


# Strict alternation


def _alternating(written: list[Json], system_role: str) -> list[Json]:
    """Put one system message first, then user and assistant in turn. Later instructions join the user's
    words, where they stand."""
    leading, position = [], 0
    while position < len(written) and written[position]["role"] == system_role:
        leading.append(written[position]["content"])
        position += 1
    merged: list[Json] = []
    if leading:
        merged.append({"role": system_role, "content": "\n\n".join(leading)})
    for message in written[position:]:
        _append(merged, message if message["role"] != system_role else {**message, "role": "user"})
    return merged


def _append(merged: list[Json], message: Json) -> None:
    last = merged[-1] if merged else {}
    same = last.get("role") == message["role"] in {"user", "assistant"}
    if not same or "tool_calls" in last:
        merged.append(message)
        return
    content = _join(last["content"], message["content"])
    merged[-1] = {**last, **message, "content": content}


def _join(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, str) and isinstance(other, str):
        return f"{one}\n\n{other}"
    return [*_listed(one), *_listed(other)]


def _listed(content: Any) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
