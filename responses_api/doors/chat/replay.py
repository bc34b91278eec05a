"""Give a chat completion again that was made for an equal request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec
import orjson
from msgspec import Struct

from gateway_project.lib import ids
from gateway_project.lib.json import Json
from gateway_project.lib.sse import DONE, data_event
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
from responses_api.doors.shapes import ModelCall
from responses_api.stream.answer_charge import AnswerCharge
from responses_api.stream.upstream_reader import Identity

# Fields by which vendors let the provider look things up, each with its own name for it.
_HOSTED = frozenset({"web_search_options", "plugins", "search_parameters", "mcp_servers"})
_FIRST = ("reasoning", "reasoning_content")  # what a model writes before its answer
_CALLED = {"function": "arguments", "custom": "input"}


class KeptCalled(Struct):
    name: str
    arguments: str | None = None
    input: str | None = None


class KeptCall(Struct):
    id: str
    type: Literal["function", "custom"] = "function"
    function: KeptCalled | None = None
    custom: KeptCalled | None = None


class KeptMessage(Struct):
    role: Literal["assistant"] = "assistant"
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[KeptCall] | None = None
    function_call: KeptCalled | None = None
    audio: None = None


class KeptLogprobs(Struct):
    content: list[dict[str, Any]] | None = None
    refusal: list[dict[str, Any]] | None = None


class KeptChoice(Struct):
    message: KeptMessage
    finish_reason: Literal["stop", "tool_calls", "function_call"]
    index: Literal[0] = 0
    logprobs: KeptLogprobs | None = None


class KeptCompletion(Struct):
    choices: list[KeptChoice]
    error: None = None
    usage: dict[str, Any] | None = None


def _content(body: Json) -> Json:
    content, places = without(body, NO_DIFFERENCE), Places()
    content["messages"] = [_by_place(message, places) for message in body["messages"]]
    return content


def _by_place(message: Json, places: Places) -> Json:
    """Return a message with the ids of calls by their place."""
    calls, answered = message.get("tool_calls"), "tool_call_id" in message
    if not calls and not answered:
        return message
    kept = dict(message)
    if calls:
        kept["tool_calls"] = [
            {**call, "id": places.of(call["id"])} if "id" in call else call for call in calls
        ]
    if answered:
        kept["tool_call_id"] = places.of(message["tool_call_id"])
    return kept


def _obstacle(body: Json) -> str:
    if is_hosted(body.get("tools") or []) or not _HOSTED.isdisjoint(body):
        return "hosted_tools"
    modalities = body.get("modalities")
    if body.get("audio") is not None or (modalities is not None and modalities != ["text"]):
        return "audio"
    return ""


def _is_whole(answer: Json) -> bool:
    try:
        completion = msgspec.convert(answer, KeptCompletion)
    except msgspec.ValidationError:
        return False
    if len(completion.choices) != 1:
        return False
    message = completion.choices[0].message
    calls = message.tool_calls or []
    said = message.content or message.refusal or calls
    called = message.function_call
    if called is not None and not is_whole_json(called.arguments or ""):
        return False
    return bool(said or called) and all(map(_is_known, calls))


def _is_known(call: KeptCall) -> bool:
    if call.type == "function":
        return call.function is not None and is_whole_json(call.function.arguments)
    return call.custom is not None and call.custom.input is not None


def _kept(answer: Json) -> Json:
    return without(answer, OF_ONE_CALL)


def _renewed(kept: Json, call: ModelCall, identity: Identity) -> Json:
    choice = kept["choices"][0]
    message = choice["message"]
    if calls := message.get("tool_calls"):
        renewed = [{**each, "id": ids.call_id()} for each in calls]
        message = {**message, "tool_calls": renewed}
    return {
        **kept,
        "id": identity.id,
        "created": identity.created_at,
        "model": identity.model,
        "choices": [{**choice, "message": message}],
    }


def _new_ids(answer: Json) -> list[str] | None:
    return None if answer["choices"][0]["message"].get("tool_calls") else []


def _with_usage(answer: Json, charge: AnswerCharge) -> Json:
    return {**answer, "usage": charge.chat_report(answer.get("usage"))}


def _unstored(answer: Json) -> Json:
    return answer  # a completion does not say whether it is stored


def _events(answer: Json, call: ModelCall, identity: Identity) -> Iterator[bytes]:
    choice = answer["choices"][0]
    head = {**without(answer, frozenset({"choices", "usage"})), "object": "chat.completion.chunk"}
    tail = {"usage": None} if call.include_usage else {}
    for delta, logprobs in _deltas(choice):
        piece = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": None}
        yield _chunk(head, [piece], tail)
    reason = choice["finish_reason"]
    last = _chunk(
        head, [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}], tail
    )
    if call.include_usage and answer.get("usage") is not None:
        last += _chunk(head, [], {"usage": answer["usage"]})
    yield last + DONE


def _chunk(head: Json, choices: list[Json], tail: Json) -> bytes:
    return data_event(orjson.dumps({**head, "choices": choices, **tail}))


def _deltas(choice: Json) -> Iterator[tuple[Json, Json | None]]:
    """Cut a message into what its stream would tell one after the other, with the probabilities of tokens."""
    message, logprobs = choice["message"], choice.get("logprobs") or {}
    content = "" if message.get("content") is not None else None
    yield {"role": "assistant", "content": content, "refusal": None}, None
    told = sorted(message.items(), key=lambda field: field[0] not in _FIRST)
    for name, value in told:
        if name == "role" or value is None:
            continue
        if name in ("content", "refusal"):
            for piece, logged in logged_pieces(value, logprobs.get(name) or ()):
                entries: Json = {"content": None, "refusal": None, name: list(logged)}
                yield {name: piece}, entries if logged else None
        elif name == "tool_calls":
            for index, called in enumerate(value):
                yield from ((delta, None) for delta in _calling(index, called))
        elif isinstance(value, str):
            yield from (({name: piece}, None) for piece in pieces(value))
        else:
            yield {name: value}, None


def _calling(index: int, called: Json) -> Iterator[Json]:
    kind = called.get("type", "function")
    field = _CALLED[kind]
    tool = called[kind]
    yield {"tool_calls": [{**called, "index": index, kind: {**tool, field: ""}}]}
    for piece in pieces(tool[field]):
        yield {"tool_calls": [{"index": index, kind: {field: piece}}]}


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
