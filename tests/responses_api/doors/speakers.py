"""A client for each door, which knows what to send and how to read, so that one test serves all doors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

Json = dict[str, Any]
End = Literal["whole", "failed", "cut"]


@dataclass(frozen=True, slots=True)
class Speaker:
    """`ask` makes the fields of a question; `read` gives the text and the counts of input and output in a
    whole answer, `read_stream` the same of a stream's events; `error` finds the words of an error."""

    ask: Callable[[str], Json]
    read: Callable[[Json], tuple[str, int, int]]
    read_stream: Callable[[list[Json]], tuple[str, int, int]]
    error: Callable[[Json], str]
    has_failed: Callable[[list[Json]], bool]
    output: bytes  # what is only in a stream that has begun to answer


def _openai_error(body: Json) -> str:
    assert set(body["error"]) == {"message", "type", "param", "code"}
    return str(body["error"]["message"])


# Chat


def _chat(said: str) -> Json:
    return {
        "messages": [{"role": "user", "content": said}],
        "stream_options": {"include_usage": True},
    }


def _completion(answer: Json) -> tuple[str, int, int]:
    usage = answer["usage"]
    said = answer["choices"][0]["message"]["content"]
    return said, usage["prompt_tokens"], usage["completion_tokens"]


def _chunks(found: list[Json]) -> tuple[str, int, int]:
    deltas = (choice["delta"] for chunk in found for choice in chunk["choices"])
    usage = found[-1]["usage"]
    said = "".join(delta.get("content") or "" for delta in deltas)
    return said, usage["prompt_tokens"], usage["completion_tokens"]


# Responses and what is beside it


def _responses(said: str) -> Json:
    return {"input": said}


def _response(answer: Json) -> tuple[str, int, int]:
    usage = answer["usage"]
    parts = (
        part["text"]
        for item in answer["output"]
        for part in item.get("content") or ()
        if part["type"] == "output_text"
    )
    return "".join(parts), usage["input_tokens"], usage["output_tokens"]


def _terminal(found: list[Json]) -> tuple[str, int, int]:
    return _response(found[-1]["response"])


def _compaction(answer: Json) -> tuple[str, int, int]:
    assert answer["output"][-1]["type"] == "compaction"
    usage = answer["usage"]
    return answer["output"][-1]["encrypted_content"], usage["input_tokens"], usage["output_tokens"]


# The toy


def _toy(said: str) -> Json:
    return {"lines": [said]}


def _words(answer: Json) -> tuple[str, int, int]:
    return answer["words"], answer["count"]["asked"], answer["count"]["made"]


def _pieces(found: list[Json]) -> tuple[str, int, int]:
    said = "".join(_of("w", found))
    return said, found[-1]["count"]["asked"], found[-1]["count"]["made"]


def _of(name: str, found: list[Json]) -> Iterator[str]:
    return (event[name] for event in found if name in event)


def _oops(body: Json) -> str:
    return str(body["oops"]["why"])


SPEAKERS: dict[str, Speaker] = {
    "chat": Speaker(
        _chat,
        _completion,
        _chunks,
        _openai_error,
        lambda found: "error" in found[-1],
        b'"content":',
    ),
    "responses": Speaker(
        _responses,
        _response,
        _terminal,
        _openai_error,
        lambda found: found[-1]["type"] == "response.failed",
        b"response.output_text.delta",
    ),
    "compact": Speaker(_responses, _compaction, _terminal, _openai_error, bool, b""),
    "toy": Speaker(_toy, _words, _pieces, _oops, lambda found: "oops" in found[-1], b'"w":'),
}
