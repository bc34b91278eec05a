"""A connection remembers its latest responses, within limits."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_project.sandbox.faults import PREFIX
from responses_api.models import StoredItem, StoredResponse
from tests.support import rows
from tests.support.sockets import opened

Json = dict[str, Any]

MISSING = (400, "previous_response_not_found")
PROTOCOLS = ("chat", "responses", "anthropic")
each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


def last_sent(gateway) -> str:
    gateway.idle()
    return str(gateway.sandbox.calls[-1].body)


@each_protocol
def test_a_long_chain_that_is_not_stored_is_said_in_order(gateway, ws, protocol):
    model, previous = f"sandbox-{protocol}", None
    for number in range(6):
        answer = ws.turn(model, input=f"turn {number}.", previous_response_id=previous, store=False)
        previous = answer["id"]
    sent = last_sent(gateway)
    places = [sent.index(f"turn {number}.") for number in range(6)]
    assert places == sorted(places)
    assert sent.count("You said: turn 4.") == 1
    assert StoredResponse.objects.count() == 0


@each_protocol
def test_a_fork_sees_its_own_chain_and_no_other(gateway, ws, protocol):
    model = f"sandbox-{protocol}"
    a = ws.turn(model, input="first A", store=False)
    b = ws.turn(model, input="then B", previous_response_id=a["id"], store=False)
    ws.turn(model, input="then C", previous_response_id=b["id"], store=False)
    ws.turn(model, input="then D", previous_response_id=a["id"], store=False)
    sent = last_sent(gateway)
    assert "first A" in sent
    assert "then B" not in sent
    assert "then C" not in sent


def test_reasoning_of_one_provider_is_not_sent_to_another(gateway, ws):
    thought = ws.turn("sandbox-responses", input="[reason] Why?", store=False)
    ws.turn("sandbox-responses", input="So?", previous_response_id=thought["id"], store=False)
    assert "encrypted_content" in last_sent(gateway)

    url = gateway.sandbox.base_url
    rows.alias("other", (rows.provider("responses", url, "other"), "sandbox-1"))
    ws.turn("other", input="So?", previous_response_id=thought["id"], store=False)
    assert "encrypted_content" not in last_sent(gateway)


# Stored, or not


def test_a_stored_response_is_continued_after_reconnecting(gateway, acme):
    with opened(gateway, acme.headers) as before:
        first = before.turn(input="My name is Ada.", store=True)
    with opened(gateway, acme.headers) as after:
        after.turn(input="Who?", previous_response_id=first["id"], store=False)
    assert "My name is Ada." in last_sent(gateway)


def test_stored_turns_form_one_chain(ws):
    first = ws.turn(input="One")
    second = ws.turn(input="Two", previous_response_id=first["id"])
    row = StoredResponse.objects.get(id=second["id"])
    assert (row.parent_id, row.root_id) == (first["id"], first["id"])
    assert StoredItem.objects.filter(response=row, side=0).count() == 1


def test_what_was_only_remembered_is_stored_with_the_first_response_that_is(gateway, acme):
    with opened(gateway, acme.headers) as ws:
        first = ws.turn(input="My name is Ada.", store=False)
        second = ws.turn(input="Two", previous_response_id=first["id"], store=True)
        third = ws.turn(input="Three", previous_response_id=second["id"], store=False)
        fourth = ws.turn(input="Four", previous_response_id=third["id"], store=True)
    for response in (second, fourth):
        row = StoredResponse.objects.get(id=response["id"])
        assert (row.parent_id, row.root_id) == ("", response["id"])
    with opened(gateway, acme.headers) as ws:
        ws.turn(input="Who?", previous_response_id=fourth["id"])
        sent = last_sent(gateway)
    said = ["'My name is Ada.'", "You said: Two", "You said: Three", "You said: Four", "Who?"]
    assert [sent.count(words) for words in said] == [1] * 5


def test_a_key_that_may_not_read_continues_from_memory_only(gateway, acme):
    with opened(gateway, acme.headers) as ws:
        stored = ws.turn(store=True)
    acme.key.scopes = ["generate"]
    acme.key.save()
    with opened(gateway, acme.headers) as ws:
        first = ws.turn(store=False)
        assert ws.turn(previous_response_id=first["id"])["store"] is False
        assert ws.refused(previous_response_id=stored["id"]) == MISSING


def test_what_another_tenant_or_connection_remembers_is_not_found(gateway, acme, ws):
    stranger = rows.customer("stranger")
    first = ws.turn(store=False)
    with opened(gateway, acme.headers) as other:
        assert other.refused(previous_response_id=first["id"]) == MISSING
    with opened(gateway, stranger.headers) as other:
        other.create(previous_response_id=first["id"])
        not_remembered = other.error()
        other.create(previous_response_id="resp_unknown")
        unknown = other.error()
    for frame in (not_remembered, unknown):
        del frame["error"]["headers"]
    assert not_remembered == unknown


# Eviction


@pytest.fixture
def broken(gateway) -> str:
    provider = rows.provider("responses", gateway.sandbox.base_url, "broken")
    return rows.alias("broken", (provider, PREFIX + "500")).name


@pytest.fixture
def cut(gateway) -> str:
    provider = rows.provider("responses", gateway.sandbox.base_url, "cut")
    return rows.alias("cut", (provider, PREFIX + "cut")).name


FAILING: dict[str, Json] = {
    "an invalid field": {"input": 7},
    "an unknown model": {"model": "nothing"},
    "an unknown call": {"input": [{"type": "function_call_output", "call_id": "c", "output": "o"}]},
    "the upstream": {"model": "broken"},
    "an upstream that breaks off": {"model": "cut"},
}


@pytest.mark.parametrize("name", FAILING)
@pytest.mark.usefixtures("broken", "cut")
def test_a_failed_continuation_evicts_what_it_continued(ws, name):
    first = ws.turn(store=False)
    again = {"previous_response_id": first["id"], "store": False}
    ws.create(**{**FAILING[name], **again})
    assert ws.events()[-1]["type"] in {"error", "response.failed"}
    assert ws.refused(**again) == MISSING


def test_a_failed_fork_of_another_lane_evicts_nothing(ws, broken):
    first = ws.turn(store=False)
    again = {"previous_response_id": first["id"], "store": False}
    assert ws.refused(broken, stream_id="side", **again) == (502, "upstream_error")
    assert ws.turn(**again)["status"] == "completed"


def test_a_fork_that_failed_evicts_on_the_lane_it_came_from(ws, broken):
    ws.create(stream_id="side", store=False)
    first = ws.events()[-1]["response"]
    again = {"previous_response_id": first["id"], "store": False}
    assert ws.refused(broken, stream_id="side", **again) == (502, "upstream_error")
    assert ws.refused(stream_id="side", **again) == MISSING


def test_what_is_stored_survives_eviction(ws, broken):
    first = ws.turn(store=True)
    again = {"previous_response_id": first["id"]}
    assert ws.refused(broken, **again) == (502, "upstream_error")
    assert ws.turn(**again)["status"] == "completed"


def test_a_failed_response_is_not_remembered(ws, cut):
    ws.create(cut, store=False)
    failed = ws.response()
    assert failed["status"] == "failed"
    assert ws.refused(previous_response_id=failed["id"], store=False) == MISSING


def test_an_incomplete_response_can_be_continued(gateway, ws):
    cut_short = ws.turn(input="[size=400] Say something long", max_output_tokens=16, store=False)
    assert cut_short["status"] == "incomplete"
    ws.turn(input="Go on", previous_response_id=cut_short["id"], store=False)
    assert "Say something long" in last_sent(gateway)


# Bounds


def test_the_newest_of_each_lane_outlives_the_others(gateway, acme):
    gateway.limit_sockets(memory_entries=3)
    with opened(gateway, acme.headers) as ws:
        ws.create(stream_id="side", store=False)
        side = ws.events()[-1]["response"]["id"]
        main = [ws.turn(store=False)["id"] for _ in range(4)]
        assert ws.refused(previous_response_id=main[0], store=False) == MISSING
        assert ws.refused(previous_response_id=main[1], store=False) == MISSING
        kept = [ws.turn(previous_response_id=found, store=False) for found in (side, main[3])]
    assert [response["status"] for response in kept] == ["completed"] * 2


def test_a_history_that_is_too_large_is_not_remembered(gateway, acme):
    gateway.limit_sockets(memory_bytes=50_000)
    with opened(gateway, acme.headers) as ws:
        small = ws.turn(store=False)
        large = ws.turn(
            input=[
                {"role": "user", "content": "x" * 60_000},
                {"role": "user", "content": "Hello"},
            ],
            store=False,
        )
        assert ws.refused(previous_response_id=large["id"], store=False) == MISSING
        assert ws.refused(previous_response_id=small["id"], store=False) == MISSING
        assert ws.turn(store=False)["status"] == "completed"


def test_what_several_have_in_common_counts_once(gateway, acme):
    gateway.limit_sockets(memory_bytes=50_000)
    with opened(gateway, acme.headers) as ws:
        said = [{"role": "user", "content": "x" * 30_000}, {"role": "user", "content": "Hello"}]
        first = ws.turn(input=said, store=False)
        forks = [ws.turn(previous_response_id=first["id"], store=False) for _ in range(5)]
        for fork in [first, *forks]:
            assert ws.turn(previous_response_id=fork["id"], store=False)["status"] == "completed"


def remembered(gateway) -> tuple[int, int]:
    def look() -> tuple[int, int]:
        (connection,) = gateway.worker.services.registry.sockets
        return len(connection.memory), connection.memory.size

    return gateway.call(look)


def test_forgetting_everything_leaves_nothing(gateway, acme, broken):
    with opened(gateway, acme.headers) as ws:
        found = ws.turn(store=False)
        chain = [found["id"]]
        for _ in range(3):
            found = ws.turn(previous_response_id=found["id"], store=False)
            chain.append(found["id"])
        assert remembered(gateway)[0] == 4
        for response_id in chain:
            ws.refused(broken, previous_response_id=response_id, store=False)
        assert remembered(gateway) == (0, 0)


def test_a_socket_without_memory_still_continues_what_is_stored(gateway, acme):
    gateway.limit_sockets(memory_bytes=0)
    with opened(gateway, acme.headers) as ws:
        first: Json = ws.turn(store=True)
        assert ws.turn(previous_response_id=first["id"])["status"] == "completed"
