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
