"""POST /responses with `background`: queued at once, made by nobody's connection, and always ended."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway_project.lib.writer import Writer
from responses_api.background import runs
from responses_api.models import (
    Conversation,
    ConversationItem,
    EventChunk,
    Run,
    StoredItem,
    StoredResponse,
)
from routing.models import Alias, Provider
from tenants.keys import keys
from tests.responses_api.background.conftest import (
    PACED,
    alias,
    as_kept,
    ended,
    queued,
    response_of,
    upstream_call,
)
from tests.support import grammar, rows
from tests.support.patience import until

each_protocol = pytest.mark.parametrize("protocol", ["chat", "responses", "anthropic"])


@pytest.mark.persistence
@each_protocol
def test_a_response_is_queued_at_once_and_made_without_its_client(http, gateway, protocol):
    response = http.create(protocol, "[chunks=5] [pace=20]")

    assert (response["status"], response["output"], response["background"]) == ("queued", [], True)
    assert response["store"] is True
    run = ended(response["id"])
    assert (run.status, run.streams, run.response.background) == ("completed", False, True)
    found = response_of(run)
    assert found["status"] == "completed"
    assert found["output"][0]["content"][0]["text"]
    assert found["usage"]["output_tokens"] == 5
    assert (found["id"], found["created_at"]) == (response["id"], response["created_at"])
    assert (found["background"], found["store"]) == (True, True)
    assert EventChunk.objects.count() == 0
    sides = StoredItem.objects.filter(response=response["id"]).values_list("side", "position")
    assert sorted(sides) == [(0, 0), (1, 0)]


@each_protocol
def test_the_provider_is_always_asked_for_a_stream_and_never_for_the_background(
    http, gateway, protocol
):
    ended(http.create(protocol)["id"])
    body = gateway.sandbox.calls[-1].body
    assert body["stream"] is True
    assert "background" not in body
    assert "previous_response_id" not in body
    assert body.get("store", False) is False


@each_protocol
def test_a_stream_of_the_background_keeps_to_the_grammar(http, protocol):
    events = http.streamed(protocol, "[reason] Think, then speak")
    final = grammar.check(events)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:3]] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ]
    lifecycle = [event["response"] for event in events if "response" in event]
    assert len({(r["id"], r["created_at"], r["model"]) for r in lifecycle}) == 1
    assert [r["status"] for r in lifecycle] == ["queued", "queued", "in_progress", "completed"]
    assert all(r["background"] and r["store"] for r in lifecycle)
    stored = response_of(Run.objects.get())
    assert stored["output"] == as_kept(final)
    assert stored["status"] == "completed"


@pytest.mark.persistence
@each_protocol
def test_a_client_that_leaves_in_the_first_instant_loses_nothing(http, gateway, protocol):
    response_id = http.begun(protocol, PACED)
    run = ended(response_id)
    assert run.status == "completed"
    grammar.check(http.events(response_id))


def test_a_tool_call_of_the_background_is_answered_in_the_next_turn(http, gateway):
    tool = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
    first = http.create("chat", "[tool]", tools=[tool])
    (call,) = response_of(ended(first["id"]))["output"]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "42"}

    second = http.create("anthropic", [output], tools=[tool], previous_response_id=first["id"])

    found = response_of(ended(second["id"]))
    assert found["status"] == "completed"
    assert found["previous_response_id"] == first["id"]
    assert "42" in found["output"][0]["content"][0]["text"]
    row = StoredResponse.objects.get(pk=second["id"])
    assert (row.parent_id, row.root_id) == (first["id"], first["id"])


def test_what_is_not_finished_cannot_be_continued(http):
    alias("endless", "sandbox-fault-never-ending")
    first = http.create("responses", "[pace=20]", model="endless")
    answer = http.post(
        "/responses",
        json={"model": "sandbox-chat", "input": "Hi", "previous_response_id": first["id"]},
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "previous_response_id"


@pytest.mark.persistence
def test_a_conversation_gets_the_very_items_that_were_stored(http, acme):
    Conversation.objects.create(id="conv_1", tenant=acme.tenant)
    response = http.create(text="Remember me", conversation="conv_1")
    found = response_of(ended(response["id"]))
    assert found["conversation"] == {"id": "conv_1"}
    stored = StoredItem.objects.filter(response=response["id"]).order_by("side", "position")
    appended = ConversationItem.objects.order_by("position")
    assert [item.item_id for item in appended] == [item.item_id for item in stored]


def test_the_end_of_the_limit_is_incomplete(http):
    response = http.create(text="[chunks=50]", max_output_tokens=16)
    found = response_of(ended(response["id"]))
    assert found["status"] == "incomplete"
    assert found["incomplete_details"] == {"reason": "max_output_tokens"}


@pytest.mark.persistence
def test_the_call_is_recorded_once_under_the_id_the_client_got(http, outcomes):
    body = {"model": "sandbox-chat", "input": "Hi", "background": True}
    answer = http.post("/responses", json=body)
    ended(answer.json()["id"])
    (line,) = outcomes()
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["status"], line["background"], line["tenant"]) == ("completed", True, "acme")
    assert line["usage_source"] == "provider"


# What cannot be done


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_what_is_not_stored_cannot_run_in_the_background(http, stream):
    body = {"model": "sandbox-chat", "input": "Hi", "background": True, "stream": stream}
    answer = http.post("/responses", json={**body, "store": False})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "background"
    assert Run.objects.count() == 0


def test_a_mistake_in_the_request_is_told_at_once(http):
    body = {"model": "sandbox-chat", "input": [{"role": "nobody"}], "background": True}
    assert http.post("/responses", json=body).status_code == 400
    unknown = http.post("/responses", json={**body, "model": "nothing", "input": "Hi"})
    assert unknown.status_code == 404
    missing = {**body, "input": "Hi", "previous_response_id": "resp_unknown"}
    assert http.post("/responses", json=missing).json()["error"]["code"] == (
        "previous_response_not_found"
    )
    assert Run.objects.count() == 0


@pytest.mark.persistence
def test_a_database_that_cannot_store_refuses_the_request(http, gateway, monkeypatch):
    monkeypatch.setattr(Writer, "is_failing", True)
    body = {"model": "sandbox-chat", "input": "Hi", "background": True}
    assert http.post("/responses", json=body).status_code == 503


# Failures are part of the Response


@each_protocol
@pytest.mark.parametrize("streams", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("fault", ["500", "429", "cut-before-output", "connect"])
def test_an_upstream_that_gives_nothing_fails_the_response(http, protocol, fault, streams):
    if fault == "connect":
        provider = rows.provider(protocol, "http://127.0.0.1:9/v1", "nobody")
        rows.alias("failing", (provider, "m"))
    else:
        alias("failing", f"sandbox-fault-{fault}", protocol)
    if streams:
        events = http.streamed(model="failing")
        final = grammar.check(events)
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert http.events(final["id"]) == events
    else:
        final = response_of(ended(http.create(model="failing")["id"]))
    assert (final["status"], final["output"]) == ("failed", [])
    code = "rate_limit_exceeded" if fault == "429" else "server_error"
    assert final["error"]["code"] == code
    assert final["error"]["message"]
    run = Run.objects.get()
    assert (run.status, run.response.status, bytes(run.request)) == ("failed", "failed", b"")


@each_protocol
@pytest.mark.parametrize("fault", ["cut", "error-mid"])
def test_an_upstream_that_breaks_off_fails_the_response_after_what_it_said(http, protocol, fault):
    alias("failing", f"sandbox-fault-{fault}", protocol)
    events = http.streamed(model="failing", text="One two three four five six seven")
    final = grammar.check(events)
    assert final["status"] == "failed"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert "response.output_text.delta" in [event["type"] for event in events]
    run = Run.objects.get()
    assert response_of(run)["output"] == as_kept(final)
    assert http.events(final["id"]) == events


def test_a_fallback_is_not_seen_in_the_events(http):
    good = Provider.objects.get(name="sandbox-anthropic")
    bad = Provider.objects.get(name="sandbox-chat")
    rows.alias("two", (bad, "sandbox-fault-503"), (good, "sandbox-1"))
    events = http.streamed(model="two")
    assert grammar.check(events)["status"] == "completed"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


def test_a_run_that_takes_too_long_is_ended(http, gateway):
    alias("endless", "sandbox-fault-never-ending")
    gateway.limit(total_stream=0.3, keepalive=0.2)
    found = response_of(ended(http.create(model="endless", text="[pace=20]")["id"]))
    assert found["status"] == "failed"
    assert "too long" in found["error"]["message"]
    until(lambda: upstream_call(gateway).ended == "client_closed")


# Between the request and its worker


def waiting(acme: Any, **body: Any) -> str:
    """A run that was queued a moment ago, by a gateway that could not make it."""
    fields = {"model": "sandbox-chat", "input": "Hi", "background": True, "store": True, **body}
    request = {"request_id": "req_1", "body": {**fields, "stream": True}, "size": 1, "headers": {}}
    order = queued(acme.tenant.pk, model=fields["model"])
    StoredResponse.objects.update(key_public_id=acme.key.public_id)
    Run.objects.update(request=orjson.dumps(request), lease_until="2020-01-01T00:00Z")
    return order.response_id


@pytest.mark.persistence
def test_a_run_that_nobody_took_is_found_and_made(http, gateway, acme):
    response_id = waiting(acme)
    gateway.run(gateway.worker.runs.look())
    assert ended(response_id).status == "completed"
    grammar.check(http.events(response_id))


def test_a_key_that_was_revoked_meanwhile_pays_for_nothing(http, gateway, acme):
    response_id = waiting(acme)
    keys.revoke(acme.key)
    gateway.run(gateway.worker.runs.look())
    found = response_of(ended(response_id))
    assert found["status"] == "failed"
    assert "no longer valid" in found["error"]["message"]
    assert len(gateway.sandbox.calls) == 0


def test_a_scope_that_was_taken_away_meanwhile_counts(http, gateway, acme):
    response_id = waiting(acme)
    acme.key.scopes = ["read", "store"]
    acme.key.save()
    gateway.run(gateway.worker.runs.look())
    found = response_of(ended(response_id))
    assert "'generate'" in found["error"]["message"]


def test_a_model_that_is_gone_meanwhile_fails_the_response(http, gateway, acme):
    response_id = waiting(acme)
    Alias.objects.filter(name="sandbox-chat").delete()
    until(lambda: gateway.worker.ready["database"])
    gateway.call(gateway.worker.forget)
    gateway.run(gateway.worker.runs.look())
    found = response_of(ended(response_id))
    assert found["status"] == "failed"
    assert "does not exist" in found["error"]["message"]


@pytest.mark.persistence
def test_what_was_deleted_meanwhile_is_not_continued_from(http, gateway, acme):
    first = ended(http.create()["id"])
    response_id = waiting(acme, previous_response_id=first.response_id)
    first.response.delete()
    gateway.run(gateway.worker.runs.look())
    found = response_of(ended(response_id))
    assert found["status"] == "failed"
    assert "was not found" in found["error"]["message"]


@pytest.mark.persistence
def test_what_a_worker_is_told_twice_is_made_once(http, gateway, acme):
    response_id = waiting(acme)
    tenant_id = acme.tenant.pk
    for _ in range(3):
        gateway.call(lambda: gateway.worker.runs.make(tenant_id, response_id))
    ended(response_id)
    gateway.idle()
    gateway.run(runner_again(gateway, tenant_id, response_id))
    assert len(gateway.sandbox.calls) == 1


async def runner_again(gateway: Any, tenant_id: int, response_id: str) -> None:
    await gateway.worker.runs.make(tenant_id, response_id)


# More than can be made at once


def test_who_finds_no_place_waits_for_one(http, gateway, monkeypatch):
    monkeypatch.setattr(gateway.worker.runs, "limit", 1)
    first = http.create(text="[chunks=20] [pace=600000]")["id"]
    second = http.create(text="Hi")["id"]
    upstream_call(gateway)
    assert Run.objects.get(pk=second).status == "queued"
    gateway.sandbox.hurry()
    Run.objects.filter(pk=second).update(lease_until="2020-01-01T00:00Z")
    ends = [ended(first).ended_at, ended(second).ended_at]
    assert ends == sorted(ends, key=str)
    assert Run.objects.get(pk=second).status == "completed"


@pytest.mark.long
@pytest.mark.persistence
def test_a_hundred_responses_are_made_at_once_and_each_can_be_ended(http, gateway, acme):
    for protocol in ("chat", "responses", "anthropic"):
        alias(f"endless-{protocol}", "sandbox-fault-never-ending", protocol)
    models = ("endless-chat", "endless-responses", "endless-anthropic")
    made = [http.create(model=models[n % 3], text="[pace=300]")["id"] for n in range(100)]

    until(lambda: Run.objects.filter(status="in_progress").count() == 100)
    until(lambda: len(gateway.sandbox.calls) == 100)
    assert [call.ended for call in gateway.sandbox.calls] == [None] * 100
    assert gateway.worker.runs.running_count == 100

    for response_id in made:
        runs.cancel(acme.tenant.pk, response_id)
    until(lambda: all(call.ended == "client_closed" for call in gateway.sandbox.calls))
    assert Run.objects.filter(status="cancelled").count() == 100


# The end of a server


@pytest.mark.persistence
def test_a_drain_lets_runs_finish_then_ends_them_and_leaves_the_queue_to_others(
    http, gateway, acme, monkeypatch
):
    alias("endless", "sandbox-fault-never-ending")
    long = http.begun(model="endless", text="[pace=20]")
    short = http.begun(text="[chunks=5] [pace=20]")
    upstream_call(gateway, 2)
    until(lambda: Run.objects.filter(status="in_progress").count() == 2)
    left = waiting(acme)

    gateway.run(gateway.worker.services.registry.drain(1.0, 1.0))
    gateway.run(gateway.worker.runs.look())

    assert ended(short).status == "completed"
    found = response_of(ended(long))
    assert found["status"] == "failed"
    assert "shutting down" in found["error"]["message"]
    assert Run.objects.get(pk=left).status == "queued"
    refused = http.post(
        "/responses", json={"model": "sandbox-chat", "input": "Hi", "background": True}
    )
    assert refused.status_code == 503


def test_nobody_elses_worker_is_told(http, gateway, acme):
    """A run of one tenant is never made in the name of another."""
    response_id = waiting(acme)
    other = rows.customer("other")
    assert runs.load(other.tenant.pk, response_id) is None
    gateway.run(runner_again(gateway, other.tenant.pk, response_id))
    assert Run.objects.get(pk=response_id).status == "queued"
