"""Check what a request of the Chat Completions door looks like (docs/wire.md 8.1)."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from gateway_project.lib.errors import UnsupportedParameter
from gateway_project.lib.structure import Caps
from responses_api.doors.shapes import (
    ModelCall,
    UsageOptions,
    check,
    check_count,
    check_each,
    count_parts,
    count_tools,
    parse_object,
    wants_cost,
)

NAME = "chat"

# The newer name first; a client that sends neither is limited by it.
_LIMITS = ("max_completion_tokens", "max_tokens")

Positive = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class ChatStreamOptions(Struct):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(Struct):
    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[dict[str, Any]], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: ChatStreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    n: Positive | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[dict[str, Any]] | None = None
    response_format: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    user: str | None = None
    service_tier: str | None = None
    reasoning_effort: str | None = None
    usage: UsageOptions | None = None


class ImageUrl(Struct):
    url: str
    detail: str | None = None


class File(Struct):
    file_id: str | None = None
    file_data: str | None = None
    filename: str | None = None


class ChatPart(Struct):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | None = None
    input_audio: dict[str, Any] | None = None
    file: File | None = None


class Called(Struct):
    name: str
    arguments: str | None = None
    input: str | None = None


class ChatToolCall(Struct):
    id: str | None = None
    type: str | None = None
    function: Called | None = None
    custom: Called | None = None


class ChatMessage(Struct):
    role: str
    content: str | list[ChatPart] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[ChatToolCall] | None = None
    tool_call_id: str | None = None


class Function(Struct):
    name: Annotated[str, Meta(min_length=1)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ChatTool(Struct):
    type: str
    function: Function | None = None
    custom: dict[str, Any] | None = None


def decode(raw: bytes, caps: Caps | None = None) -> ModelCall:
    """Check a request body. Raises BadRequest naming the field."""
    body = parse_object(raw, caps)
    check(body, ChatRequest)
    units = 0
    if caps is not None and len(raw) > caps.tools:  # there cannot be more of anything than bytes
        units = _check_counts(body, caps)
    check_each(body["messages"], ChatMessage, "messages")
    if tools := body.get("tools"):
        check_each(tools, ChatTool, "tools")
    options = body.get("stream_options") or {}
    tells_cost = wants_cost(body)
    return ModelCall(
        door=NAME,
        model=body["model"],
        stream=bool(body.get("stream")),
        # Who wants the cost told in `usage` wants that told, as with OpenRouter.
        include_usage=bool(options.get("include_usage")) or tells_cost is True,
        body=body,
        size=len(raw),
        tells_cost=tells_cost,
        units=units,
    )


def with_output_limit(body: dict[str, Any], limit: int) -> dict[str, Any]:
    """Limit the output under every name the client used."""
    names = [name for name in _LIMITS if body.get(name) is not None] or [_LIMITS[0]]
    return {**body, **dict.fromkeys(names, limit)}


def _check_counts(body: dict[str, Any], caps: Caps) -> int:
    """Return how many messages, parts and tools there are, before any is looked at by itself. Raise
    RequestTooComplex where they are too many."""
    messages = body["messages"]
    units = check_count("items", len(messages), caps.items, "messages")
    units += check_count("parts", count_parts(messages), caps.parts, "messages")
    units += check_count("tools", count_tools(body.get("tools") or ()), caps.tools, "tools")
    return units + check_count("tools", len(body.get("functions") or ()), caps.tools, "functions")


def refuse_foreign_ids(body: dict[str, Any], history: int) -> None:
    """Refuse ids of uploaded files: over the platform's credential they may be another tenant's."""
    for i, message in enumerate(body["messages"]):
        content = message.get("content")
        if content.__class__ is str and "audio" not in message:
            continue
        match message.get("audio"):
            case {"id": str()}:
                raise UnsupportedParameter(
                    "Earlier audio cannot be referenced by its id, because the gateway does not know its "
                    "owner; send the answer's text in 'content'.",
                    param=f"messages[{i}].audio.id",
                )
        for j, part in enumerate(content if isinstance(content, list) else ()):
            if (part.get("file") or {}).get("file_id"):
                raise UnsupportedParameter(
                    "File ids cannot be used, because the gateway does not know their owner; "
                    "send the file's content in 'file_data'.",
                    param=f"messages[{i}].content[{j}].file.file_id",
                )
