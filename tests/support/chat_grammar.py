"""Check the form of a streamed chat completion (docs/wire.md 8.2), as `grammar` that of a Response."""

from __future__ import annotations

from typing import Any

import orjson

Json = dict[str, Any]

SAID = ("content", "refusal", "reasoning_content", "reasoning", "tool_calls")

ROLE_COMES_FIRST = "the role does not come first"


def read(stream: bytes) -> list[Json]:
    """The chunks of a whole stream as the gateway frames it: LF only, no names, `[DONE]` last."""
    assert b"\r" not in stream, "a CR on the wire"
    assert stream.endswith(b"\n\n"), "the stream ends inside an event"
    blocks = [block for block in stream[:-2].split(b"\n\n") if not block.startswith(b":")]
    assert blocks[-1] == b"data: [DONE]", f"the last event is {blocks[-1][:100]!r}"
    return [_chunk(block) for block in blocks[:-1]]


def _chunk(block: bytes) -> Json:
    assert block.startswith(b"data: "), f"no data line: {block[:200]!r}"
    assert b"\n" not in block, f"not one line: {block[:200]!r}"
    chunk: Json = orjson.loads(block[6:])
    return chunk


def check(chunks: list[Json]) -> None:
    """One id and model; the role first; one reason, and after it nothing is said."""
    assert len({(each["id"], each["model"]) for each in chunks}) == 1, "another id or model"
    assert {each["object"] for each in chunks} == {"chat.completion.chunk"}
    choices = [choice for each in chunks for choice in each["choices"]]
    assert {choice["index"] for choice in choices} == {0}, "a choice nobody asked for"
    assert choices[0]["delta"]["role"] == "assistant", "the role does not come first"
    reasons = [choice.get("finish_reason") for choice in choices]
    assert sum(reason is not None for reason in reasons) == 1, f"the reasons are {reasons}"
    after = choices[[reason is not None for reason in reasons].index(True) + 1 :]
    assert not any(choice["delta"].get(name) for choice in after for name in SAID)


def check_ours(chunks: list[Json], *, with_usage: bool) -> None:
    """Check what only the gateway's own chunks keep to: a relayed vendor may be looser."""
    check(chunks)
    assert len({each["created"] for each in chunks}) == 1, "another time"
    told = [each for each in chunks if each["choices"]]
    _check_usage(chunks, told, with_usage)
    choices = [choice for each in told for choice in each["choices"]]
    assert sum("role" in choice["delta"] for choice in choices) == 1, "the role again"
    assert choices[-1]["finish_reason"] is not None, "something after the reason"
    _check_calls([choice["delta"] for choice in choices])


def _check_usage(chunks: list[Json], told: list[Json], with_usage: bool) -> None:
    if not with_usage:
        assert told == chunks, "a chunk without choices"
        assert all("usage" not in each for each in chunks), "usage nobody asked for"
        return
    assert all(each["usage"] is None for each in told), "usage in a chunk with choices"
    assert chunks in (told, [*told, chunks[-1]]), "more than one chunk of usage"


def _check_calls(deltas: list[Json]) -> None:
    """Indexes in order of first sight; id, type and name with the first piece of a call only."""
    seen = 0
    for delta in deltas:
        for call in delta.get("tool_calls") or []:
            assert call["index"] <= seen, "an index was left out"
            is_first = call["index"] == seen
            seen += is_first
            kind = "custom" if "custom" in call else "function"
            assert bool(call.get("id")) == is_first, "the id is not with the first piece alone"
            assert bool(call[kind].get("name")) == is_first, "nor is the name"
            assert not is_first or call["type"] == kind
