"""Two requests share an entry only if their upstream bodies are the same but for the listed fields."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
from hypothesis import assume, event, given, settings, target
from hypothesis import strategies as st
from msgspec import structs

from responses_api.cache import keys
from responses_api.calls.admission import Admitted
from responses_api.doors.registry import BRIDGES, DOORS
from responses_api.doors.replay import NO_DIFFERENCE
from responses_api.doors.shapes import ModelCall
from responses_api.stream.upstream_reader import Identity
from routing.route import CachePolicy, Route
from tenants.keys.caller import Caller
from tests.plugins.tiers import examples
from tests.support import targets

Json = dict[str, Any]

POLICY = CachePolicy(60, "key", True, 0, alias_id=1, generation=0, revision="r")
CALLER = Caller(
    key_id=1,
    key_public_id="k",
    tenant_id=1,
    tenant_slug="t",
    scopes=frozenset(),
    all_aliases=True,
    allow_direct_targets=False,
    networks=(),
    expires_at=None,
)
# What the listed fields become at an upstream.
LISTED = NO_DIFFERENCE | {"metadata"}
_word = st.sampled_from(["", "a", "b", "a ", "é", "1", "1.0", "true", "null"])
_value = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, 0.5]) | _word,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_word, inner, max_size=2),
    max_leaves=4,
)
_call_id = st.sampled_from(["call_1", "call_2", "#0", "#1"])


def _said(role: str, text: str) -> Json:
    return {"role": role, "content": text}


@st.composite
def responses_input(draw: st.DrawFn) -> list[Json]:
    items: list[Json] = [_said("user", draw(_word))]
    for _ in range(draw(st.integers(0, 2))):
        call_id = draw(_call_id)
        call = {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"}
        if draw(st.booleans()):
            call["id"] = draw(st.sampled_from(["fc_1", "fc_2"]))
        output = {"type": "function_call_output", "call_id": draw(_call_id), "output": draw(_word)}
        items += [call, output]
    return items


@st.composite
def chat_messages(draw: st.DrawFn) -> list[Json]:
    messages = [_said(draw(st.sampled_from(["system", "user"])), draw(_word))]
    for _ in range(draw(st.integers(0, 2))):
        function = {"name": "f", "arguments": draw(st.sampled_from(["{}", '{"a":1}']))}
        call = {"id": draw(_call_id), "type": "function", "function": function}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        answer = {"role": "tool", "tool_call_id": draw(_call_id), "content": draw(_word)}
        messages.append(answer)
    return messages


_fields = st.dictionaries(
    st.sampled_from(
        [
            *("metadata", "user", "store", "stream", "service_tier", "prompt_cache_key"),
            *("seed", "temperature", "top_p", "tool_choice", "x_unknown", "instructions", "stop"),
        ]
    ),
    _value,
    max_size=4,
)
_bodies = {
    "responses": st.builds(lambda said, more: {**more, "input": said}, responses_input(), _fields),
    "chat": st.builds(lambda said, more: {**more, "messages": said}, chat_messages(), _fields),
}


@st.composite
def pairs(draw: st.DrawFn, door: str) -> tuple[Json, Json]:
    """Draw two bodies that have much in common."""
    one, other = draw(_bodies[door]), draw(_bodies[door])
    names = sorted({*one, *other})
    taken = {name for name in names if draw(st.integers(0, 5))}
    mixed = {
        n: (one if n in taken else other)[n] for n in names if n in (one if n in taken else other)
    }
    order = draw(st.permutations(sorted(mixed)))
    return one, {name: mixed[name] for name in order}


def key(door: str, body: Json) -> bytes:
    call = ModelCall(door, "m", False, False, {"model": "m", **body}, 0)
    admitted = Admitted("req_1", DOORS[door], CALLER, call, _ROUTE, (), {"accept": "x"})
    replay = DOORS[door].replay
    assert replay is not None
    return keys.key_of(admitted, POLICY, replay, guardrails="", namespace="")


_ROUTE = Route(alias="m", native_only=False, drop_unsupported=True, targets=())


def sent(door: str, protocol: str, body: Json) -> bytes:
    """Return what goes upstream, without the listed fields and with ids of calls by their place."""
    call = ModelCall(door, "m", False, False, {"model": "m", **body}, 0)
    identity = Identity("id", "m", 0)
    plan = BRIDGES[door, protocol].plan(
        call, targets.target(protocol), identity, drop_unsupported=True
    )
    kept = {name: value for name, value in plan.body.items() if name not in LISTED}
    return orjson.dumps(_by_place(kept, {}), option=orjson.OPT_SORT_KEYS)


def _by_place(value: Any, places: dict[str, int]) -> Any:
    if isinstance(value, list):
        return [_by_place(each, places) for each in value]
    if not isinstance(value, dict):
        return value
    is_call = value.get("type") in {"function_call", "function", "function_call_output"}
    found = {}
    for name, each in value.items():
        if name in {"call_id", "tool_call_id"} or (name == "id" and "function" in value):
            found[name] = places.setdefault(str(each), len(places))
        elif not (is_call and name == "id"):
            found[name] = _by_place(each, places)
    return found


@given(st.data(), st.sampled_from(["chat", "responses"]))
@settings(max_examples=examples(300))
def test_equal_keys_mean_equal_bodies_upstream(data: st.DataObject, door: str) -> None:
    one, other = data.draw(pairs(door))
    same = key(door, one) == key(door, other)
    event(f"{door}: {'shared' if same else 'apart'}")
    target(float(same))
    assume(same)
    assert sent(door, door, one) == sent(door, door, other)


@given(st.data(), st.sampled_from(["chat", "responses"]))
@settings(max_examples=examples(200))
def test_a_field_that_is_not_listed_always_makes_another_key(
    data: st.DataObject, door: str
) -> None:
    body = data.draw(_bodies[door])
    name = data.draw(st.text(st.characters(codec="ascii"), max_size=12))
    assume(
        name not in {*NO_DIFFERENCE, *body, "previous_response_id", "conversation", "background"}
    )
    value = data.draw(_value)
    assert key(door, body) != key(door, {**body, name: value})


# What JSON is written with, so that a part may look like the seam between two.
_part = st.text(st.sampled_from('",\\[]0 é'), max_size=4)


@given(st.lists(_part, max_size=5), st.lists(_part, max_size=5))
@settings(max_examples=examples(500))
def test_no_two_lists_of_parts_have_one_digest(one: list[str], other: list[str]) -> None:
    assert (keys.digest(one) == keys.digest(other)) == (one == other)


def test_every_part_of_who_asks_whom_makes_another_key() -> None:
    call = ModelCall("chat", "m", False, False, {"messages": []}, 0)
    base = Admitted("req_1", DOORS["chat"], CALLER, call, _ROUTE, (), {})
    replay = DOORS["chat"].replay
    assert replay is not None

    def of(admitted: Admitted = base, policy: CachePolicy = POLICY, **more: str) -> bytes:
        given = {"guardrails": "", "namespace": "", **more}
        return keys.key_of(admitted, policy, replay, **given)

    found = [
        of(),
        of(structs.replace(base, caller=replace(CALLER, tenant_id=2))),
        of(structs.replace(base, caller=replace(CALLER, key_id=2))),
        of(structs.replace(base, caller=replace(CALLER, end_user="someone"))),
        of(structs.replace(base, route=replace(_ROUTE, alias="n"))),
        of(structs.replace(base, route=replace(_ROUTE, requested_model="n"))),
        of(structs.replace(base, upstream_headers={"openai-beta": "x"})),
        of(policy=replace(POLICY, revision="s")),
        of(policy=replace(POLICY, generation=1)),
        of(policy=replace(POLICY, alias_id=2)),
        of(policy=replace(POLICY, deciding=frozenset({"tags"}))),
        of(policy=replace(POLICY, deciding=frozenset({"key"}))),
        of(policy=replace(POLICY, deciding=frozenset({"stream"}))),
        of(policy=replace(POLICY, scope="tenant")),
        of(policy=replace(POLICY, scope="end_user")),
        of(guardrails="g1"),
        of(namespace="n"),
    ]
    assert len(set(found)) == len(found)
