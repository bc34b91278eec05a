"""Check what a request of the Responses door looks like (docs/wire.md 3.1, 3.3).

The item union is open: an item of a type we do not know passes unchecked, one we know must fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from gateway_project.lib.errors import BadRequest, UnsupportedParameter
from gateway_project.lib.json import Json
from gateway_project.lib.structure import Caps
from responses_api.doors.shapes import (
    ModelCall,
    UsageOptions,
    check,
    check_count,
    check_sealed,
    count_parts,
    count_tools,
    fits_each,
    parse_object,
    wants_cost,
)
from routing.protocols.responses.request import MIN_OUTPUT_TOKENS

NAME = "responses"
MAX_REFERENCES = 5000  # all are looked up in one query, whose parameters a database counts

Positive = Annotated[int, Meta(ge=1, le=2**31 - 1)]
# The range OpenAI documents, so that a request means the same whichever protocol its upstream speaks.
OutputLimit = Annotated[int, Meta(ge=MIN_OUTPUT_TOKENS, le=2**31 - 1)]
Temperature = Annotated[float, Meta(ge=0, le=2)]


class ResponsesStreamOptions(Struct):
    include_obfuscation: bool | None = None


class ReasoningOptions(Struct):
    effort: str | None = None
    summary: str | None = None


class TextOptions(Struct):
    format: dict[str, Any] | None = None
    verbosity: str | None = None


class ResponsesRequest(Struct):
    model: Annotated[str, Meta(min_length=1)]
    input: str | list[dict[str, Any]] | None = None
    instructions: str | list[dict[str, Any]] | None = None
    stream: bool | None = None
    stream_options: ResponsesStreamOptions | None = None
    include: list[str] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: OutputLimit | None = None
    max_tool_calls: Positive | None = None
    temperature: Temperature | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    top_logprobs: int | None = None
    reasoning: ReasoningOptions | None = None
    text: TextOptions | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
    prompt: dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    user: str | None = None
    usage: UsageOptions | None = None


class InputPart(Struct):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None


class InputMessage(Struct):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[InputPart]
    phase: str | None = None


class FunctionCall(Struct):
    call_id: str
    name: str
    arguments: str


class CustomToolCall(Struct):
    call_id: str
    name: str
    input: str


class ToolOutput(Struct):
    call_id: str
    output: str | list[dict[str, Any]] | dict[str, Any]


class ReasoningItem(Struct):
    summary: list[dict[str, Any]] | None = None
    content: list[dict[str, Any]] | None = None
    encrypted_content: str | None = None


class CompactionItem(Struct):
    encrypted_content: str


class ItemReference(Struct):
    id: Annotated[str, Meta(min_length=1, max_length=200)]


class ConversationParam(Struct):
    id: Annotated[str, Meta(min_length=1)]


class FunctionTool(Struct):
    name: Annotated[str, Meta(min_length=1)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamespaceTool(Struct):
    name: str
    tools: list[dict[str, Any]]


class AnyTyped(Struct):
    type: str


ITEMS: dict[str, type[Struct]] = {
    "message": InputMessage,
    "function_call": FunctionCall,
    "function_call_output": ToolOutput,
    "custom_tool_call": CustomToolCall,
    "custom_tool_call_output": ToolOutput,
    "reasoning": ReasoningItem,
    "compaction": CompactionItem,
    "item_reference": ItemReference,
}
TOOLS: dict[str, type[Struct]] = {"function": FunctionTool, "namespace": NamespaceTool}


def decode(raw: bytes, caps: Caps | None = None) -> ModelCall:
    """Check a request body. Raises BadRequest naming the field."""
    return parse(parse_object(raw, caps), len(raw), caps)


def parse(body: dict[str, Any], size: int, caps: Caps | None = None) -> ModelCall:
    """Check a request whose JSON was read already. Raises BadRequest naming the field."""
    check(body, ResponsesRequest)
    units = 0
    if caps is not None and size > caps.tools:  # there cannot be more of anything than bytes
        units = _check_counts(body, caps)
    if caps is not None and size > caps.values and isinstance(body.get("input"), list):
        check_sealed(body["input"], caps)
    _check_state(body)
    items = body.get("input")
    references = _check_items(items, "input") if isinstance(items, list) else []
    if len(references) > MAX_REFERENCES:
        raise BadRequest(
            f"'input' may hold at most {MAX_REFERENCES} item references; continue from a response with "
            "'previous_response_id'.",
            param="input",
        )
    if tools := body.get("tools"):
        _check_tools(tools, "tools")
    return ModelCall(
        door=NAME,
        model=body["model"],
        stream=bool(body.get("stream")),
        include_usage=True,
        body=body,
        size=size,
        references=tuple(references),
        tells_cost=wants_cost(body),
        units=units,
    )


def _check_counts(body: dict[str, Any], caps: Caps) -> int:
    """Return how many items, parts and tools there are, before any is looked at by itself. Raise
    RequestTooComplex where they are too many."""
    units = 0
    for name in ("input", "instructions"):
        items = body.get(name)
        if isinstance(items, list):
            units += check_count("items", len(items), caps.items, name)
            units += check_count("parts", count_parts(items), caps.parts, name)
            brought = [item["tools"] for item in items if isinstance(item.get("tools"), list)]
            units += check_count("tools", sum(map(count_tools, brought)), caps.tools, name)
    return units + check_count("tools", count_tools(body.get("tools") or ()), caps.tools, "tools")


def _check_state(body: dict[str, Any]) -> None:
    if body.get("prompt"):
        raise UnsupportedParameter(
            "Prompt templates are stored at the provider and cannot be used; send 'instructions'.",
            param="prompt",
        )
    conversation = body.get("conversation")
    if not conversation:
        return
    if isinstance(conversation, dict):
        check(conversation, ConversationParam, "conversation")
    if body.get("previous_response_id"):
        raise BadRequest(
            "'conversation' and 'previous_response_id' cannot be combined: a conversation already holds its "
            "history.",
            param="previous_response_id",
        )


def with_output_limit(body: dict[str, Any], limit: int) -> dict[str, Any]:
    """Limit the output."""
    return {**body, "max_output_tokens": limit}


def refuse_empty(call: ModelCall) -> None:
    """Refuse a call that has nothing to answer, neither in its input nor in what it continues: some upstreams
    would be asked, and paid, for an answer to nothing."""
    if call.body.get("input"):
        return
    raise BadRequest(
        "Nothing to answer: 'input' is missing or empty, and there is no earlier turn to continue from. "
        "Send 'input', or a 'previous_response_id' or 'conversation' that has items.",
        param="input",
    )


def conversation_id(body: dict[str, Any]) -> str:
    """Return the conversation a request names; empty if it names none."""
    named = body.get("conversation") or ""
    return named["id"] if isinstance(named, dict) else named


def item_kind(item: dict[str, Any]) -> Any:
    """Return an item's type; messages and item references may leave it out (docs/wire.md 3.3)."""
    if "type" in item and item["type"] is not None:
        return item["type"]
    return "message" if "role" in item else "item_reference" if "id" in item else None


def _check_items(items: list[Json], at: str) -> list[int]:
    """Check items against their shapes; return the positions of the references among them. Raise BadRequest
    naming the field.

    Items of one kind are checked together. Only if something is wrong is each checked by itself, so that the
    error names the first wrong one.
    """
    kinds = [item.get("type") or item_kind(item) for item in items]
    if not _fit_together(items, kinds, ITEMS):
        for position, item in enumerate(items):
            check_item(item, f"{at}[{position}]")
    if "item_reference" not in kinds:
        return []
    return [position for position, kind in enumerate(kinds) if kind == "item_reference"]


def _fit_together(
    entries: Sequence[Json], kinds: list[Any], shapes: dict[str, type[Struct]]
) -> bool:
    """Return whether every entry has a kind, and fits the shape of its kind if that is known."""
    of_kind: dict[str, list[Json]] = {}
    for entry, kind in zip(entries, kinds, strict=True):
        if kind.__class__ is not str:
            return False
        if kind in of_kind:
            of_kind[kind].append(entry)
        elif kind in shapes:
            of_kind[kind] = [entry]
    return all(map(fits_each, of_kind.values(), map(shapes.__getitem__, of_kind)))


def check_item(item: dict[str, Any], at: str) -> str:
    """Check an item, and return its type. Raises BadRequest naming the field."""
    kind = item_kind(item)
    if not isinstance(kind, str):
        check(item, AnyTyped, at)
    shape = ITEMS.get(kind)
    if shape is not None:
        check(item, shape, at)
    return str(kind)


def _check_tools(tools: Sequence[Json], at: str) -> None:
    """Raise BadRequest naming the field unless all fit; checked together as items are."""
    if not _fit_together(tools, [tool.get("type") for tool in tools], TOOLS):
        for position, tool in enumerate(tools):
            _check_tool(tool, f"{at}[{position}]")


def _check_tool(tool: dict[str, Any], at: str) -> None:
    check(tool, AnyTyped, at)
    shape = TOOLS.get(tool["type"])
    if shape is not None:
        check(tool, shape, at)


def refuse_foreign_ids(body: dict[str, Any], history: int) -> None:
    """Refuse ids of files, containers, vector stores and what else the provider keeps: over the
    platform's credential they may be another tenant's (docs/wire.md 6.6). `history` is how
    many items of the input the client did not send itself; they are no better for having been stored."""
    for name in ("input", "instructions"):
        items = body.get(name)
        for i, item in enumerate(items if isinstance(items, list) else ()):
            if name == "input" and i < history and item.get("type") == "code_interpreter_call":
                continue  # the provider's own report of where it ran code; nothing is opened by it
            if field := _foreign_in_item(item):
                raise _foreign(f"{name}[{i}].{field}")
    if field := _foreign_in_tools(body.get("tools")):
        raise _foreign(field)
    match body.get("prompt_cache_options"):
        case {"comparison_response_id": str()}:
            raise _foreign("prompt_cache_options.comparison_response_id")


# Fields of an item, beside its content and output, in which something may be named, and what names nothing.
_MAY_NAME = frozenset({"container_id", "environment", "tools"})
_PLAIN = (str, type(None))
# Fields of a tool in which something may be named.
_TOOL_MAY_NAME = frozenset(
    {"container", "environment", "input_image_mask", "tools", "tunnel_id", "vector_store_ids"}
)


def _foreign_in_item(item: dict[str, Any]) -> str | None:
    """Find where an item names something stored at the provider."""
    content, output = item.get("content"), item.get("output")
    is_plain = output.__class__ in _PLAIN and _MAY_NAME.isdisjoint(item)
    if is_plain and content.__class__ is not list:
        return None
    for name in ("content", "output"):
        parts = item.get(name)
        for j, part in enumerate(parts if isinstance(parts, list) else ()):
            if isinstance(part, dict) and part.get("file_id"):
                return f"{name}[{j}].file_id"
    if is_plain:
        return None
    match item:
        case {"output": {"file_id": str()}}:
            return "output.file_id"
        case {"container_id": str()}:
            return "container_id"
        case {"environment": {"container_id": str()}}:
            return "environment.container_id"
    return _foreign_in_tools(item.get("tools"))


def _foreign_in_tools(tools: Any) -> str | None:
    for i, tool in enumerate(tools if isinstance(tools, list) else ()):
        if isinstance(tool, dict) and (field := _foreign_in_tool(tool)):
            return f"tools[{i}].{field}"
    return None


def _foreign_in_tool(tool: dict[str, Any]) -> str | None:
    if _TOOL_MAY_NAME.isdisjoint(tool):  # as in almost all
        return None
    match tool:
        case {"vector_store_ids": [_, *_]}:
            return "vector_store_ids"
        case {"type": "code_interpreter", "container": str()}:
            return "container"
        case {"container": {"file_ids": [_, *_]}}:
            return "container.file_ids"
        case {"environment": {"container_id": str()}}:
            return "environment.container_id"
        case {"environment": {"file_ids": [_, *_]}}:
            return "environment.file_ids"
        case {"environment": {"skills": [*skills]}} if any(map(_is_stored_skill, skills)):
            return "environment.skills"
        case {"input_image_mask": {"file_id": str()}}:
            return "input_image_mask.file_id"
        case {"tunnel_id": str()}:
            return "tunnel_id"
    return _foreign_in_tools(tool.get("tools"))


def _is_stored_skill(skill: Any) -> bool:
    """Tell whether a skill is kept by the provider; an inline one carries its own source."""
    return isinstance(skill, dict) and "skill_id" in skill


def _foreign(param: str) -> UnsupportedParameter:
    return UnsupportedParameter(
        f"'{param}' refers to something stored at the provider, and the gateway does not know its owner. "
        "Send the content itself, or use a credential of your own tenant.",
        param=param,
    )
