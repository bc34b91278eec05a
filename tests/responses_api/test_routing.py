"""Real requests are routed by weight, conditions, windows and affinity; and the explanation says the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway_project.lib.secret import Secret
from responses_api.calls.explain import RouteQuestion, explain
from routing import credentials
from routing.models import Alias, Credential, ProviderModel, Target
from tenants.access.access import OPERATOR
from tests.plugins.cases import cases
from tests.support import rows
from tests.support.client import client_of, error_of, question
from tests.support.live import LiveGateway
from tests.support.patience import until
from tests.support.rows import Customer
from tests.support.sockets import opened

Json = dict[str, Any]

SCHEMA = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


@pytest.fixture
def acme(gateway: LiveGateway) -> Customer:
    return rows.customer("acme")


@pytest.fixture
def http(gateway: LiveGateway, acme: Customer) -> Iterator[httpx.Client]:
    with client_of(gateway, acme) as client:
        yield client


def alias_of(gateway: LiveGateway, *names: str, **fields: Any) -> Alias:
    """An alias over providers of these names, one tier each."""
    made = [
        (rows.provider("responses", gateway.sandbox.base_url, name), f"sandbox-{name}")
        for name in names
    ]
    return rows.alias("m", *made, **fields)


def share(alias: Alias, **weights: int) -> None:
    for name, weight in weights.items():
        change(alias, name, position=0, weight=weight)


def change(alias: Alias, name: str, **fields: Any) -> None:
    Target.objects.filter(alias=alias, provider_model__provider__name=name).update(**fields)


def ask(
    http: httpx.Client, words: str = "Hi", headers: Json | None = None, **fields: Any
) -> httpx.Response:
    body = {**question("responses", "m", words), **fields}
    return http.post("/responses", json=body, headers=headers)


def went(gateway: LiveGateway, before: int = 0) -> list[str]:
    """The models that were asked, in order."""
    return [call.body["model"].removeprefix("sandbox-") for call in gateway.sandbox.calls][before:]


def test_calls_that_begin_differently_are_shared_and_those_that_begin_alike_stay(
    gateway: LiveGateway, http: httpx.Client
) -> None:
    alias = alias_of(gateway, "a", "b")
    share(alias, a=100, b=100)
    for number in range(40):
        assert ask(http, f"Question {number}").status_code == 200
    assert set(went(gateway)) == {"a", "b"}
    before = len(went(gateway))
    for _ in range(8):
        ask(http, "Always the same")
    assert len(set(went(gateway, before))) == 1


@cases("how", ["prompt_cache_key", "session_id", "x-session-id"])
def test_a_name_that_the_client_gives_keeps_its_calls_together(
    gateway: LiveGateway, http: httpx.Client, how: str
) -> None:
    alias = alias_of(gateway, "a", "b", "c")
    share(alias, a=100, b=100, c=100)
    before = len(went(gateway))
    for number in range(9):
        given = {how: "one"} if how == "prompt_cache_key" else {}
        ask(http, f"Question {number}", None if given else {how: "one"}, **given)
    asked = went(gateway, before)
    assert (len(asked), len(set(asked))) == (9, 1)
    if how == "prompt_cache_key":
        assert gateway.sandbox.calls[-1].body["prompt_cache_key"] == "one"


def test_a_conversation_stays_where_its_beginning_was_answered(
    gateway: LiveGateway, http: httpx.Client
) -> None:
    alias = alias_of(gateway, "a", "b", "c")
    share(alias, a=100, b=100, c=100)
    answer = ask(http, "The beginning", instructions="Be brief.", store=True).json()
    for number in range(6):
        answer = ask(
            http, f"Turn {number}", instructions="Be brief.", store=True,
            previous_response_id=answer["id"],
        ).json()  # fmt: skip
    assert len(went(gateway)) == 7
    assert len(set(went(gateway))) == 1


def test_after_a_failure_calls_stay_with_the_lane_that_answered(
    gateway: LiveGateway, http: httpx.Client
) -> None:
    alias = alias_of(gateway, "a", "b")
    share(alias, a=1000, b=1)
    models = ProviderModel.objects.filter(provider__name="a")
    models.update(upstream_id="sandbox-fault-500")
    assert ask(http, "The same").status_code == 200
    models.update(upstream_id="sandbox-a")
    gateway.worker.services.router.clear()
    before = len(went(gateway))
    for _ in range(4):
        ask(http, "The same")
    assert went(gateway, before) == ["b"] * 4


def test_a_target_is_asked_for_the_calls_it_is_meant_for(
    gateway: LiveGateway, http: httpx.Client
) -> None:
    alias = alias_of(gateway, "a", "b")
    change(alias, "a", when={"tags.team": "search", "stream": False})
    ask(http)
    ask(http, metadata={"team": "search"})
    ask(http, metadata={"team": "search"}, stream=True)
    assert went(gateway) == ["b", "a", "b"]


def test_a_call_that_no_target_is_meant_for_is_refused_without_a_word_about_them(
    gateway: LiveGateway, http: httpx.Client
) -> None:
    alias = alias_of(gateway, "a")
    change(alias, "a", when={"tags.team": "search"})
    answer = ask(http)
    assert error_of(answer) == (400, "invalid_request", "model")
    assert "search" not in answer.text
    assert went(gateway) == []


@cases(
    ("fields", "first"),
    [
        ({}, "a"),
        ({"tools": [{"type": "function", "name": "f", "parameters": {}}]}, "b"),
        ({"text": {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA}}}, "a"),
        ({"reasoning": {"effort": "high"}}, "a"),
    ],
)
def test_a_model_that_lacks_what_a_call_needs_is_passed_over(
    gateway: LiveGateway, http: httpx.Client, fields: Json, first: str
) -> None:
    alias_of(gateway, "a", "b")
    known = {"a": ["structured_output"], "b": ["structured_output", "tools"]}
    for name, capabilities in known.items():
        ProviderModel.objects.filter(provider__name=name).update(capabilities=capabilities)
    before = len(went(gateway))
    ask(http, **fields)
    assert went(gateway, before)[0] == first


def test_a_window_that_is_too_small_is_passed_over_before_anything_is_sent(
    gateway: LiveGateway, http: httpx.Client
) -> None:
    alias_of(gateway, "a", "b")
    ProviderModel.objects.filter(provider__name="a").update(context_window=1_000)
    ProviderModel.objects.filter(provider__name="b").update(context_window=100_000)
    ask(http, "short")
    ask(http, "x" * 20_000)
    assert went(gateway) == ["a", "b"]


def test_a_drained_target_is_asked_when_the_others_have_failed(
    gateway: LiveGateway, http: httpx.Client
) -> None:
    alias = alias_of(gateway, "a", "b")
    change(alias, "a", weight=0)
    ask(http)
    ProviderModel.objects.filter(provider__name="b").update(upstream_id="sandbox-fault-500")
    gateway.worker.services.router.clear()
    assert ask(http, "Another").status_code == 200
    assert went(gateway) == ["b", "fault-500", "a"]


def test_a_pool_spreads_calls_over_its_credentials(
    gateway: LiveGateway, http: httpx.Client
) -> None:
    up = rows.provider("responses", gateway.sandbox.base_url, "up", secret="sk-1")
    credentials.create(up, Secret("sk-2"), name="second")
    rows.alias("m", (up, "sandbox-1"))
    for number in range(30):
        ask(http, f"Question {number}")
    sent = Counter(call.headers["authorization"] for call in gateway.sandbox.calls)
    assert set(sent) == {"Bearer sk-1", "Bearer sk-2"}


@cases("way", ["websocket", "background", "cache"])
def test_where_a_credential_of_a_pool_fails_the_next_answers_whatever_the_way(
    gateway: LiveGateway, http: httpx.Client, acme: Customer, monkeypatch: Any, way: str
) -> None:
    up = rows.provider("responses", gateway.sandbox.base_url, "up", secret="sk-wrong")
    credentials.create(up, Secret("sk-right"), name="second")
    Credential.objects.filter(name="second").update(weight=0)  # the last to be asked
    rows.alias("m", (up, "sandbox-1"), cache_seconds=600 if way == "cache" else 0)
    monkeypatch.setattr(gateway.sandbox, "require_key", "sk-right")

    def answered() -> Json:
        if way == "websocket":
            with opened(gateway, acme.headers) as ws:
                return ws.turn(model="m", input="Hi")
        made: Json = ask(http, background=way == "background", temperature=0).json()
        address = f"/responses/{made['id']}"
        if way == "background":
            until(lambda: http.get(address).json()["status"] not in {"queued", "in_progress"})
            made = http.get(address).json()
        return made

    assert [answered()["status"] for _ in range(3)] == ["completed"] * 3
    sent = [call.headers["authorization"] for call in gateway.sandbox.calls]
    right = 1 if way == "cache" else 3
    assert sent == ["Bearer sk-wrong", *["Bearer sk-right"] * right]


def test_the_explanation_is_what_happens(
    gateway: LiveGateway, http: httpx.Client, acme: Customer
) -> None:
    alias = alias_of(gateway, "a", "b", "c", "d")
    share(alias, a=100, b=100, c=100)
    change(alias, "d", position=0, when={"stream": True})
    for number in range(12):
        body = question("responses", "m", f"Question {number}")
        told = explain(OPERATOR, RouteQuestion("m", key=acme.key, body=body), seed=number)
        first = next(each for each in told.lanes if each.place == 1)
        before = len(went(gateway))
        http.post("/responses", json=body)
        assert went(gateway, before) == [first.lane.model.removeprefix("sandbox-")]
        dropped = [
            (each.lane.model, each.reason, each.detail) for each in told.lanes if not each.place
        ]
        assert dropped == [("sandbox-d", "when", "stream")]
    shares = {each.lane.model: each.share for each in told.lanes if each.place}
    assert all(30 <= (each or 0) <= 37 for each in shares.values())


def test_an_explanation_calls_nobody(gateway: LiveGateway, acme: Customer) -> None:
    alias_of(gateway, "a", "b")
    assert explain(OPERATOR, RouteQuestion("m", key=acme.key)).lanes
    assert not gateway.sandbox.calls
