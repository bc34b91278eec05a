"""Structure is counted exactly, without objects, and text never counts."""

from __future__ import annotations

import contextlib
import json
import random
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_project.lib import structure
from gateway_project.lib.errors import BadRequest, RequestTooComplex
from gateway_project.lib.structure import Caps, TooMuchStructure
from responses_api.doors.chat import request as chat
from responses_api.doors.responses import request as responses
from tests.plugins.cases import cases, sample
from tests.plugins.tiers import sampled
from tests.support import requests

MEGABYTE = 1024 * 1024
LARGE = 3 * MEGABYTE
TIGHT = Caps(values=40, keys=15)
# What dense JSON of so many values takes, with a wide margin: less than one large body's own bytes.
FLOOR_BYTES = 64 * MEGABYTE
DENSE_FLOOR_BYTES = 32 * MEGABYTE
# The most function calls that one of something takes on its way to any protocol.
MOST_STEPS = {
    "messages": 24,
    "parts": 10,
    "images": 24,
    "files": 32,
    "thoughts": 55,
    "tools": 45,
    "calls": 90,
    "custom calls": 90,
}
FUNCTION_CALL = ("function_call", "arguments")
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
FILE = "data:text/plain;base64,YWE="

texts = st.text(st.sampled_from('a,:[]{}"\\\n\u0000é😀'), max_size=12)
documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(texts, inner, max_size=6),
    max_leaves=60,
)


def counted(document: Any) -> tuple[int, int]:
    """Values and keys, by a walk over the objects."""
    values = keys = 0
    rest = [document]
    while rest:
        match rest.pop():
            case dict() as found:
                values += 1 + max(len(found) - 1, 0)
                keys += len(found)
                rest += found.values()
            case list() as found:
                values += 1 + max(len(found) - 1, 0)
                rest += found
    return values, keys


@cases("escapes", [False, True], ids=["UTF-8", "escapes"])
@given(document=documents, size=st.integers(1, 9))
def test_a_document_is_refused_exactly_where_its_structure_exceeds_a_cap(escapes, document, size):
    raw = json.dumps(document, ensure_ascii=escapes).encode(errors="replace")
    values, keys = counted(document)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structure, "SLICE_BYTES", size)
        patch.setattr(structure, "BOUND_SLICE_BYTES", 2 * size)
        if values > TIGHT.values or keys > TIGHT.keys:
            with pytest.raises(TooMuchStructure):
                structure.check(TIGHT, raw)
        else:
            structure.check(TIGHT, raw)


@given(depth=st.integers(1, 140), as_text=st.booleans())
def test_depth_is_seen_to_the_level(depth, as_text):
    document: Any = 1
    for level in range(depth):
        document = [document] if level % 2 else {"a": document, "b": "[[[["}
    raw = orjson.dumps(document)
    given_raw = raw.decode() if as_text else raw
    assert structure.is_deeper(document, given_raw, 100) == (depth > 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structure, "COUNTED_BYTES", 0)
        assert structure.is_deeper(document, given_raw, 100) == (depth > 100)
        patch.setattr(structure, "WRITTEN_BYTES", 0)
        patch.setattr(structure, "SLICE_BYTES", 7)
        for _ in structure.steps(Caps(depth=depth), (raw,)):
            pass
        with pytest.raises(TooMuchStructure, match="depth"):
            list(structure.steps(Caps(depth=depth - 1), (raw,)))


def test_twenty_megabytes_of_csv_or_minified_json_in_one_string_pass():
    csv = "1,2.5,a b,:,[x]\n" * (20 * MEGABYTE // 16)
    minified = json.dumps([{"a": [1, {"b": '\\"'}]}] * 10)
    for text in (csv, minified * (20 * MEGABYTE // len(minified))):
        for decode, body in (
            (chat.decode, {"messages": [{"role": "user", "content": text}]}),
            (responses.decode, {"input": text}),
        ):
            raw = orjson.dumps({"model": "m", **body})
            structure.check(Caps(), raw)
            assert decode(raw, Caps()).size == len(raw)


SHAPES: dict[str, bytes] = {
    "empty objects": b"{},",
    "empty lists": b"[],",
    "objects in lists": b'[{"a":{"b":[1]}}],',
    "small integers": b"7,",
    "floats": b"1.5e-7,",
    "keys": b'{"k":0},',
    "empty strings": b'"",',
    "short strings": b'"\\u00e9,",',
    "strings of quotes": b'"\\"\\\\\\"",',
    "messages": b'{"role":"user","content":"a"},',
    "parts": b'{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},',
    "null": b"null,",
}
TEXTS: dict[str, bytes] = {
    "letters": b"lorem ipsum ",
    "escapes": b"\\u0000",
    "surrogates": b"\\ud83d\\ude00",
    "backslashes": b"\\\\",
    "quotes": b'\\",[{:',
}


def of_shape(unit: bytes, size: int) -> bytes:
    """A request whose messages are this, again and again."""
    return b'{"model":"m","messages":[%b{}]}' % (unit * (size // len(unit)))


def decoded(raw: bytes) -> bool:
    """Decode as a door does, and tell whether the request was accepted."""
    try:
        structure.check(Caps(), raw)
        chat.decode(raw, Caps())
    except (TooMuchStructure, BadRequest):
        return False
    return True


def bodies() -> Iterator[tuple[str, bytes, bool]]:
    """Name, body, and whether it exceeds a cap before it is decoded."""
    seeded = random.Random(11)
    for name, unit in SHAPES.items():
        yield name, of_shape(unit, seeded.randrange(1_000, 150_000)), False
        yield name, of_shape(unit, LARGE), True
    for name, unit in TEXTS.items():
        text = unit * (LARGE // len(unit))
        yield name, b'{"model":"m","messages":[{"role":"user","content":"%b"}]}' % text, False
    keys = b",".join(b'"k%d":%d' % (n, n) for n in range(120_000))
    yield "distinct keys", b'{"model":"m","metadata":{%b}}' % keys, True
    yield "one key again and again", b'{"model":"m",%b"z":1}' % (b'"k":1,' * 120_000), True
    yield "digits", b'{"model":"m","seed":%b}' % (b"9" * LARGE), False
    yield "a fraction", b'{"model":"m","seed":1.%b}' % (b"9" * LARGE), False
    yield "deep", b'{"model":%b1%b}' % (b"[" * LARGE, b"]" * LARGE), True
    shallow = b'{"model":"%b","x":%b1%b}' % (b"m" * LARGE * 2, b"[" * 900, b"]" * 900)
    yield "rather deep, and large", shallow, True
    yield "quotes alone", b'"' * LARGE, False


def looked_at(raw: bytes) -> int:
    """Count the slices that were examined."""
    slices = 0
    with contextlib.suppress(TooMuchStructure):
        for _ in structure.steps(Caps(), (raw,)):
            slices += 1
    return slices


def test_no_objects_are_made_of_what_exceeds_a_cap_and_bytes_are_looked_at_twice_at_most(
    monkeypatch,
):
    made: list[int] = []

    def parse(raw: bytes, caps: Caps) -> Any:
        made.append(len(raw))
        raise RequestTooComplex("items", 0)

    monkeypatch.setattr(chat, "parse_object", parse)
    for name, raw, exceeds in bodies():
        made.clear()
        assert (
            looked_at(raw)
            <= len(raw) // structure.BOUND_SLICE_BYTES + len(raw) // structure.SLICE_BYTES + 2
        )
        decoded(raw)
        assert bool(made) is not exceeds, name


def test_no_request_takes_more_than_ten_times_its_size_in_memory():
    for name, raw, _ in sampled(list(bodies()), default=6, ci=10):
        tracemalloc.start()
        decoded(raw)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= max(10 * len(raw), FLOOR_BYTES), (name, len(raw), peak)


def many(shape: str, count: int) -> dict[str, Any]:
    """A request with so many of something."""
    said = {"role": "user", "content": "a"}
    match shape:
        case "messages":
            return {"input": [said] * count}
        case "parts":
            part = {"type": "input_text", "text": "a"}
            return {"input": [{"role": "user", "content": [part] * count}]}
        case "images":
            part = {"type": "input_image", "image_url": PIXEL}
            return {"input": [{"role": "user", "content": [part] * count}]}
        case "files":
            part = {"type": "input_file", "filename": "a.txt", "file_data": FILE}
            return {"input": [{"role": "user", "content": [part] * count}]}
        case "thoughts":
            thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}]}
            return {"input": [thought] * count + [said]}
        case "tools":
            tools = [{"type": "function", "name": f"f{n}", "parameters": {}} for n in range(count)]
            return {"input": "a", "tools": tools}
    kind, field = ("custom_tool_call", "input") if shape == "custom calls" else FUNCTION_CALL
    calls = []
    for n in range(count):
        call = {"type": kind, "call_id": f"c{n}", "name": "f", field: "{}"}
        calls += [call, {"type": f"{kind}_output", "call_id": f"c{n}", "output": "a"}]
    return {"input": calls}


@sample(default=2, ci=3)
@cases("protocol", ["chat", "responses", "anthropic"])
@cases(
    ("shape", "count"),
    [
        ("messages", 10_000),
        ("parts", 20_000),
        ("images", 19_999),
        ("thoughts", 9_999),
        ("tools", 2_000),
        ("calls", 5_000),
    ],
)
def test_translating_as_much_as_the_caps_allow_takes_no_more_memory_than_reading_it(
    shape, count, protocol
):
    raw = orjson.dumps({"model": "m", **many(shape, count)})
    tracemalloc.start()
    call = responses.decode(raw, Caps())
    requests.sent("responses", call.body, requests.target(protocol))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    floor = FLOOR_BYTES if shape == "images" else DENSE_FLOOR_BYTES
    assert peak <= max(10 * len(raw), floor), (len(raw), peak)


def steps_of(work: Callable[[], object]) -> int:
    """Count the function calls, Python's and C's: a number that no busy machine changes."""
    count = 0

    def note(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@cases("protocol", ["chat", "responses", "anthropic"])
@cases("shape", list(MOST_STEPS))
def test_twice_as_many_of_anything_take_twice_the_steps_and_few_each(shape, protocol):
    def work(count: int) -> int:
        raw = orjson.dumps({"model": "m", **many(shape, count)})

        def translate() -> None:
            call = responses.decode(raw, Caps())
            requests.sent("responses", call.body, requests.target(protocol))

        return steps_of(translate)

    work(2)  # what is made once and remembered
    some, more = work(300), work(600)
    assert more <= 2.1 * some
    assert more <= 600 * MOST_STEPS[shape], "steps for one"
