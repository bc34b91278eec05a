"""Bring a Chat Completions request into the canonical form, a Responses request (docs/wire.md 8.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gateway_project.lib.errors import BadRequest, UnsupportedParameter
from gateway_project.lib.json import Json

_RENAMED = {"max_completion_tokens": "max_output_tokens", "max_tokens": "max_output_tokens"}
_READ_ELSEWHERE = frozenset(
    {
        "messages", "tools", "functions", "tool_choice", "function_call", "response_format", "verbosity",
        "reasoning_effort", "stream_options", "store", *_RENAMED,
    }
)  # fmt: skip
_TEXTS = {"assistant": "output_text"}


def canonical(body: Json) -> Json:
    """Bring a body into canonical form. Raises BadRequest naming the field."""
    made = {
        name: value
        for name, value in body.items()
        if name not in _READ_ELSEWHERE and value is not None
    }
    made["input"] = [item for _, item in _MessagesReader(body["messages"]).items()]
    # The newer name wins where a client sends both.
    for name in ("max_tokens", "max_completion_tokens"):
        if body.get(name) is not None:
            made[_RENAMED[name]] = body[name]
    if tools := [
        *map(_tool, body.get("tools") or ()),
        *map(_function, body.get("functions") or ()),
    ]:
        made["tools"] = tools
    if (choice := _choice(body)) is not None:
        made["tool_choice"] = choice
    if text := _text(body):
        made["text"] = text
    if body.get("reasoning_effort") is not None:
        made["reasoning"] = {"effort": body["reasoning_effort"]}
    return made


def terms(body: Json) -> Json:
    """Read what a request asks beside its messages, which the upstream is sent as they came."""
    return canonical({**body, "messages": []})


def has_one_answer(body: Json) -> bool:
    """Tell whether a Response can hold the answer: one choice, in text and calls of tools. Not several
    choices, spoken answers, or calls in the form before tools."""
    return (
        body.get("n") in {None, 1}
        and not (body.get("functions") or body.get("function_call") or body.get("audio"))
        and body.get("modalities") in (None, [], ["text"])
    )


# Messages


class _MessagesReader:
    """Turn messages into items, each with the path of what it was made from."""

    def __init__(self, messages: list[Json]) -> None:
        self._messages = messages
        self._custom: set[str] = set()  # ids of calls of custom tools
        self._functions: list[str] = []  # ids we gave to deprecated function calls

    def items(self) -> Iterator[tuple[str, Json]]:
        for k, message in enumerate(self._messages):
            at = f"messages[{k}]"
            match message.get("role"):
                case "system" | "developer" | "user" as role:
                    yield at, _message(role, _content(message.get("content"), at, "input_text"))
                case "assistant":
                    yield from self._assistant(message, at)
                case "tool":
                    yield at, self._result(message, at)
                case "function":
                    yield at, self._function_result(message, at)
                case role:
                    raise BadRequest(
                        f"Invalid value for '{at}.role': {role!r}.", param=f"{at}.role"
                    )

    def _assistant(self, message: Json, at: str) -> Iterator[tuple[str, Json]]:
        if message.get("audio"):
            raise UnsupportedParameter(
                "Audio answers are stored at their provider and cannot be replayed here; "
                "send their transcript as 'content'.",
                param=f"{at}.audio",
            )
        thought = message.get("reasoning_content") or message.get("reasoning")
        if thought and isinstance(thought, str):
            yield at, _reasoning(thought)
        if said := _said(message, at):
            yield at, _message("assistant", said)
        for j, call in enumerate(message.get("tool_calls") or ()):
            here = f"{at}.tool_calls[{j}]"
            yield here, self._call(call, here)
        if called := message.get("function_call"):
            self._functions.append(f"call_function_{len(self._functions)}")
            yield at, _function_call(called, self._functions[-1], f"{at}.function_call")

    def _call(self, call: Json, at: str) -> Json:
        call_id = call.get("id")
        if not isinstance(call_id, str) or not call_id:
            raise BadRequest(f"Missing required parameter: '{at}.id'.", param=f"{at}.id")
        if custom := call.get("custom"):
            self._custom.add(call_id)
            return {
                "type": "custom_tool_call",
                "call_id": call_id,
                "name": _name(custom, f"{at}.custom"),
                "input": custom.get("input") or "",
            }
        return _function_call(call.get("function") or {}, call_id, f"{at}.function")

    def _result(self, message: Json, at: str) -> Json:
        call_id = message.get("tool_call_id")
        if not isinstance(call_id, str) or not call_id:
            raise BadRequest(
                f"Missing required parameter: '{at}.tool_call_id'.", param=f"{at}.tool_call_id"
            )
        kind = "custom_tool_call_output" if call_id in self._custom else "function_call_output"
        return {"type": kind, "call_id": call_id, "output": _output(message, at)}

    def _function_result(self, message: Json, at: str) -> Json:
        """Read a deprecated function message, which has no id and answers the call before it."""
        if not self._functions:
            raise BadRequest(f"'{at}' follows no function call.", param=at)
        call_id = self._functions[-1]
        return {"type": "function_call_output", "call_id": call_id, "output": _output(message, at)}


def _message(role: str, content: str | list[Json]) -> Json:
    return {"type": "message", "role": role, "content": content}


def _reasoning(thought: str) -> Json:
    content = [{"type": "reasoning_text", "text": thought}]
    return {"type": "reasoning", "summary": [], "content": content}


def _function_call(called: Json, call_id: str, at: str) -> Json:
    return {
        "type": "function_call",
        "call_id": call_id,
        "name": _name(called, at),
        "arguments": called.get("arguments") or "{}",
    }


def _name(called: Json, at: str) -> str:
    name = called.get("name")
    if isinstance(name, str) and name:
        return name
    raise BadRequest(f"Missing required parameter: '{at}.name'.", param=f"{at}.name")


def _said(message: Json, at: str) -> str | list[Json]:
    """Read what an assistant said. Text alone is a string: parts of an assistant are for messages that came
    with an id."""
    said = _content(message.get("content"), at, "output_text")
    if refusal := message.get("refusal"):
        said.append({"type": "refusal", "refusal": refusal})
    if any(part["type"] != "output_text" for part in said):
        return said
    return "".join(part["text"] for part in said)


def _output(message: Json, at: str) -> str | list[Json]:
    content = message.get("content")
    if isinstance(content, list):
        return _content(content, at, "input_text")
    return content if isinstance(content, str) else ""


def _content(content: Any, at: str, text_type: str) -> list[Json]:
    """Make parts, one for each of the client's."""
    if isinstance(content, str):
        return [_text_part(text_type, content)] if content or text_type == "input_text" else []
    made: list[Json] = []
    for j, part in enumerate(content if isinstance(content, list) else ()):
        text = part.get("text")
        if text.__class__ is str and part.get("type") == "text":
            made.append(_text_part(text_type, text))
        else:
            made.append(_part(part, f"{at}.content[{j}]", text_type))
    return made


def _text_part(kind: str, text: str) -> Json:
    if kind == "output_text":
        return {"type": kind, "text": text, "annotations": []}
    return {"type": kind, "text": text}


def _part(part: Json, at: str, text_type: str) -> Json:
    match part:
        case {"type": "refusal", "refusal": str(refusal)}:
            return {"type": "refusal", "refusal": refusal}
        case {"type": "image_url", "image_url": {"url": str(url)} as image}:
            made = {"type": "input_image", "image_url": url}
            return {**made, "detail": image.get("detail") or "auto"}
        case {"type": "file", "file": dict(file)}:
            names = ("filename", "file_data", "file_id")
            given = {name: file[name] for name in names if file.get(name) is not None}
            return {"type": "input_file", **given}
        case {"type": "input_audio", "input_audio": dict(audio)}:
            return {"type": "input_audio", "input_audio": audio}
    raise BadRequest(
        f"Invalid value for '{at}': no part of the type {part.get('type')!r} is known with these fields.",
        param=f"{at}.type",
    )


# Tools


def _tool(tool: Json) -> Json:
    """Make a tool flat; what this door does not know stays as it is and is left out later."""
    match tool:
        case {"type": "function", "function": dict(function)}:
            return _function(function)
        case {"type": "custom", "custom": dict(custom)}:
            made = {"type": "custom", **custom}
            if isinstance(custom.get("format"), dict):
                made["format"] = _format(custom["format"])
            return made
    return tool


def _function(function: Json) -> Json:
    """Make a function tool; chat is not strict unless told so, Responses is (docs/wire.md 3.6)."""
    made = {"type": "function", **function}
    made["parameters"] = function.get("parameters")
    made["strict"] = bool(function.get("strict"))
    return made


def _format(form: Json) -> Json:
    match form:
        case {"type": "grammar", "grammar": dict(grammar)}:
            return {"type": "grammar", **grammar}
    return form


def _choice(body: Json) -> Any:
    """Make the choice flat; `function_call` is the deprecated name."""
    wish = body.get("tool_choice")
    if wish is None:
        called = body.get("function_call")
        return {"type": "function", **called} if isinstance(called, dict) else called
    match wish:
        case {"type": "allowed_tools", "allowed_tools": dict(allowed)}:
            tools = [_named(tool) for tool in allowed.get("tools") or ()]
            return {"type": "allowed_tools", "mode": allowed.get("mode", "auto"), "tools": tools}
    return _named(wish)


def _named(wish: Any) -> Any:
    match wish:
        case {"type": "function" | "custom" as kind} if isinstance(wish.get(kind), dict):
            return {"type": kind, "name": wish[kind].get("name")}
    return wish


# The form of the answer


def _text(body: Json) -> Json:
    text: Json = {}
    match body.get("response_format"):
        case {"type": "json_schema", "json_schema": dict(schema)}:
            text["format"] = {"type": "json_schema", **schema}
        case {"type": str()} as form:
            text["format"] = form
    if body.get("verbosity") is not None:
        text["verbosity"] = body["verbosity"]
    return text


# Errors

_INPUT = re.compile(r"input\[(\d+)\](.*)\Z", re.DOTALL)
_IN_PARTS = {
    ".file_data": ".file.file_data",
    ".file_id": ".file.file_id",
    ".image_url": ".image_url.url",
}


def client_param(body: Json, param: str) -> str:
    """Give the client's name for a field of the canonical body that an error names."""
    if found := _INPUT.match(param):
        return _message_param(body, int(found[1]), found[2])
    if param.startswith("text.format"):
        return "response_format"
    if tool := re.match(r"tools\[(\d+)\]\.(\w+)\Z", param):
        return _tool_param(body, int(tool[1]), tool[2])
    if param == "max_output_tokens":
        return "max_completion_tokens" if body.get("max_completion_tokens") else "max_tokens"
    return {"reasoning.effort": "reasoning_effort", "text.verbosity": "verbosity"}.get(param, param)


def _message_param(body: Json, position: int, rest: str) -> str:
    made = list(_MessagesReader(body["messages"]).items())
    if position >= len(made):
        return "messages"
    at, item = made[position]
    if rest == ".call_id":
        is_result = item["type"].endswith("_output")
        return f"{at}.tool_call_id" if is_result else f"{at}.id"
    rest = rest.replace(".output", ".content", 1)
    if isinstance(body["messages"][int(at[9 : at.index("]")])].get("content"), str):
        return f"{at}.content"
    for ending, longer in _IN_PARTS.items():
        if rest.endswith(ending):
            return f"{at}{rest.removesuffix(ending)}{longer}"
    return f"{at}{rest}"


def _tool_param(body: Json, position: int, name: str) -> str:
    tools = body.get("tools") or []
    if position >= len(tools):
        return f"functions[{position - len(tools)}].{name}"
    kind = tools[position].get("type")
    return (
        f"tools[{position}].{kind}.{name}"
        if kind in {"function", "custom"}
        else f"tools[{position}]"
    )
