"""Give a Response again that was made for an equal request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from msgspec import Struct

from gateway_project.lib import ids
from gateway_project.lib.json import Json
from responses_api.doors.replay import (
    NO_DIFFERENCE,
    OF_ONE_CALL,
    Places,
    Replay,
    is_hosted,
    is_whole_json,
    logged_pieces,
    pieces,
    without,
)
from responses_api.doors.responses.encoder import ResponsesEncoder
from responses_api.doors.responses.request import item_kind
from responses_api.doors.shapes import ModelCall
from responses_api.stream.answer_charge import AnswerCharge
from responses_api.stream.response import GIVEN
from responses_api.stream.steps import Appended, Closed, Ended, Kind, Place, PlaceOpened, Step
from responses_api.stream.upstream_reader import Identity

# The history they name stands in the input, and counts by its content.
_BY_CONTENT = frozenset({"previous_response_id", "conversation", "background"})
# Items whose own id says nothing to a model.
_NAMED = frozenset(
    {
        "custom_tool_call",
        "custom_tool_call_output",
        "function_call",
        "function_call_output",
        "message",
        "reasoning",
    }
)


class KeptPart(Struct):
    type: str
    text: str | None = None
    refusal: str | None = None
    annotations: list[dict[str, Any]] | None = None
    logprobs: list[dict[str, Any]] | None = None


class KeptItem(Struct):
    type: str
    id: str | None = None
    status: Literal["completed"] | None = None
    call_id: str | None = None
    content: list[KeptPart] | None = None
    summary: list[KeptPart] | None = None
    encrypted_content: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None


class KeptResponse(Struct):
    status: Literal["completed"]
    output: list[KeptItem]
    error: None = None
    incomplete_details: None = None
    usage: dict[str, Any] | None = None


def _content(body: Json) -> Json:
    content = without(body, NO_DIFFERENCE | _BY_CONTENT)
    given = content.get("input")
    if isinstance(given, list):
        places = Places()
        content["input"] = [_by_place(item, places) for item in given]
    return content


def _by_place(item: Json, places: Places) -> Json:
    """Return an item without its own id and with that of its call by its place. An id that something sealed
    may be bound to stays."""
    has_id = "id" in item and not item.get("encrypted_content") and item_kind(item) in _NAMED
    if not has_id and "call_id" not in item:
        return item
    kept = {name: value for name, value in item.items() if not (has_id and name == "id")}
    if "call_id" in kept:
        kept["call_id"] = places.of(kept["call_id"])
    return kept


def _obstacle(body: Json) -> str:
    if body.get("background"):
        return "background"
    if body.get("context_management"):
        return "compaction"
    given = body.get("input")
    items = given if isinstance(given, list) else []
    brought = (item["tools"] for item in items if "tools" in item)
    if is_hosted(body.get("tools") or []) or any(map(is_hosted, brought)):
        return "hosted_tools"
    return ""


def _is_whole(answer: Json) -> bool:
    try:
        response = msgspec.convert(answer, KeptResponse)
    except msgspec.ValidationError:
        return False
    output = response.output
    named = [item.id for item in output if item.id is not None]
    is_plain = len(set(named)) == len(named) and all(map(_is_known, output))
    return is_plain and any(map(_says_something, output))


def _says_something(item: KeptItem) -> bool:
    if item.type == "message":
        return any(part.text or part.refusal for part in item.content or ())
    return item.type != "reasoning"


def _is_known(item: KeptItem) -> bool:
    if not all(map(_has_its_text, (*(item.content or ()), *(item.summary or ())))):
        return False
    match item.type:
        case "function_call":
            return is_whole_json(item.arguments)
        case "custom_tool_call":
            return item.input is not None
        case "message" | "reasoning":
            return True
    return False  # a hosted tool was used after all, or nobody knows how such an item is streamed


def _has_its_text(part: KeptPart) -> bool:
    if part.type == "refusal":
        return part.refusal is not None
    return part.text is not None or part.type not in _TEXTS


_TEXTS = frozenset({"output_text", "reasoning_text", "summary_text"})


def _kept(answer: Json) -> Json:
    return without(answer, OF_ONE_CALL | _BY_CONTENT)


def _renewed(kept: Json, call: ModelCall, identity: Identity) -> Json:
    body = call.body
    answer = {
        **kept,
        "id": identity.id,
        "created_at": identity.created_at,
        "model": identity.model,
        "output": _renewed_items(kept["output"]),
        "metadata": body.get("metadata") or {},
        "safety_identifier": body.get("safety_identifier"),
        "prompt_cache_key": body.get("prompt_cache_key"),
        **{name: body[name] for name in GIVEN if body.get(name) is not None},
        **identity.echo,
    }
    if kept.get("completed_at") is not None:
        answer["completed_at"] = identity.created_at
    return answer


def _renewed_items(output: list[Json]) -> list[Json]:
    """Give items and calls new ids, the same wherever an item names them."""
    names: dict[str, str] = {}
    for item in output:
        if (call_id := item.get("call_id")) is not None:
            names.setdefault(call_id, ids.call_id())
        if (own := item.get("id")) is not None and not item.get("encrypted_content"):
            names.setdefault(own, _new_id(own))
    return [_renewed_item(item, names) for item in output]


def _renewed_item(item: Json, names: dict[str, str]) -> Json:
    renewed = {**item}
    for name, value in item.items():
        if value.__class__ is str and value in names and (name == "id" or name.endswith("_id")):
            renewed[name] = names[value]
    if renewed.get("id") is None:
        renewed["id"] = _new_id(item["type"])
    if item["type"] == "message":
        renewed["content"] = [_with_lists(part) for part in item.get("content") or ()]
    return renewed


def _with_lists(part: Json) -> Json:
    """Return a part of a message with the lists that some servers leave out of a text (docs/wire.md 4.2)."""
    if part["type"] != "output_text":
        return part
    lists = {name: part.get(name) or [] for name in ("annotations", "logprobs")}
    return {**part, **lists}


def _new_id(known: str) -> str:
    """Make an id that looks like this one."""
    prefix, underscore, _ = known.partition("_")
    usable = underscore and prefix.isalnum() and prefix.isascii() and len(prefix) <= 16
    return ids.item_id(prefix if usable else "item")


def _new_ids(answer: Json) -> list[str] | None:
    output = answer["output"]
    if any(item.get("call_id") or item.get("encrypted_content") for item in output):
        return None
    return [item["id"] for item in output]


def _with_usage(answer: Json, charge: AnswerCharge) -> Json:
    return {**answer, "usage": charge.report(answer.get("usage"))}


def _unstored(answer: Json) -> Json:
    return {**answer, "store": False}


def _events(answer: Json, call: ModelCall, identity: Identity) -> Iterator[bytes]:
    encoder = ResponsesEncoder(identity)
    yield encoder.start(_begun(answer))
    yield from map(encoder.encode, _steps(answer))


def _begun(answer: Json) -> Json:
    begun = {**answer, "status": "in_progress", "output": [], "usage": None, "completed_at": None}
    if "output_text" in answer:
        begun["output_text"] = ""
    return begun


def _steps(answer: Json) -> Iterator[Step]:
    for index, item in enumerate(answer["output"]):
        place = Place("item", item["id"], index)
        yield PlaceOpened(place, _empty(item))
        yield from _inside(item, index)
        yield Closed(place, item)
    yield Ended(answer)


def _empty(item: Json) -> Json:
    """Return an item as it begins. A sealed payload comes with its end."""
    nothing: Json = {"content": [], "summary": [], "arguments": "", "input": ""}
    begun = {
        name: nothing.get(name, value) if value is not None else None
        for name, value in item.items()
        if name != "encrypted_content"
    }
    return {**begun, "status": "in_progress"} if "status" in item else begun


def _inside(item: Json, index: int) -> Iterator[Step]:
    match item["type"]:
        case "message":
            yield from _parts(item, index, "content", {"output_text": "text", "refusal": "refusal"})
        case "reasoning":
            yield from _parts(item, index, "summary", {"summary_text": "summary"})
            yield from _parts(item, index, "content", {"reasoning_text": "reasoning"})
        case "function_call":
            yield from _written(Place("arguments", item["id"], index), item["arguments"])
        case "custom_tool_call":
            yield from _written(Place("input", item["id"], index), item["input"])


def _parts(item: Json, index: int, field: str, kinds: dict[str, Kind]) -> Iterator[Step]:
    for number, part in enumerate(item.get(field) or ()):
        kind = kinds.get(part["type"])
        if kind is None:  # which nobody knows how to write in pieces
            yield PlaceOpened(Place("text", item["id"], index, number), part)
            continue
        place = Place(kind, item["id"], index, number)
        yield from _refusal(place, part) if kind == "refusal" else _text(place, part)


def _refusal(place: Place, part: Json) -> Iterator[Step]:
    yield PlaceOpened(place, {**part, "refusal": ""})
    yield from _written(place, part["refusal"])
    yield Closed(place, part)


def _text(place: Place, part: Json) -> Iterator[Step]:
    if place.kind != "text":
        yield PlaceOpened(place, {**part, "text": ""})
        yield from _written(place, part["text"])
        yield Closed(place, part)
        return
    yield PlaceOpened(place, {**part, "text": "", "annotations": [], "logprobs": []})
    for piece, logged in logged_pieces(part["text"], part["logprobs"]):
        yield Appended(place, piece, logged)
    for number, annotation in enumerate(part["annotations"]):
        yield Appended(place, "", (), annotation, number)
    yield Closed(place, part)


def _written(place: Place, text: str) -> Iterator[Step]:
    for piece in pieces(text):
        yield Appended(place, piece)


REPLAY = Replay(
    content=_content,
    obstacle=_obstacle,
    is_whole=_is_whole,
    kept=_kept,
    renewed=_renewed,
    new_ids=_new_ids,
    with_usage=_with_usage,
    events=_events,
    unstored=_unstored,
)
