"""Foreground streams of a model that keeps them: a client that leaves comes back and misses nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.db import OperationalError

from responses_api.background import runs
from responses_api.models import (
    Conversation,
    ConversationItem,
    EventChunk,
    Run,
    StoredResponse,
    WebhookDelivery,
    WebhookEndpoint,
)
from routing.models import Alias
from tests.responses_api.background.conftest import (
    PACED,
    Client,
    alias,
    as_kept,
    ended,
    response_of,
    upstream_call,
)
from tests.support import grammar, storing, wire
from tests.support.patience import promised, until
from tests.support.wire import Wire

each_protocol = pytest.mark.parametrize("protocol", ["chat", "responses", "anthropic"])


@pytest.fixture
def http(http: Client) -> Client:
    Alias.objects.update(resumable_streams=True)
    return http


def create(http: Client, protocol: str, text: str = "Hello", **fields: Any) -> list[Any]:
    body = {"model": f"sandbox-{protocol}", "input": text, "stream": True, **fields}
    answer = http.post("/responses", json=body)
    assert answer.status_code == 200, answer.text
    return grammar.read(answer.content)


def id_in(client: Wire) -> str:
    client.wait_for(b"output_text.delta")
    return client.received.partition(b'"id":"resp_')[2][:48].decode().join(["resp_", ""])


@each_protocol
def test_a_stream_can_be_had_again_from_every_number(http, protocol):
    events = create(http, protocol, "[reason] [chunks=6]")
    final = grammar.check(events)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert (final["store"], final["background"]) == (True, False)
    for number in range(len(events)):
        assert http.events(final["id"], starting_after=number) == events[number + 1 :]
    run = Run.objects.get()
    assert (run.status, run.response.background, run.owner != "") == ("completed", False, True)
    assert response_of(run)["output"] == as_kept(final)


@each_protocol
def test_a_client_that_leaves_comes_back_to_the_whole_answer(http, gateway, acme, protocol):
    with wire.started(gateway.root_url, "responses", acme, f"sandbox-{protocol}", PACED) as client:
        response_id = id_in(client)
        seen = client.received
    assert ended(response_id).status == "completed"
    events = http.events(response_id)
    assert grammar.check(events)["output"][0]["content"][0]["text"]
    until(lambda: upstream_call(gateway).ended == "completed")
    assert seen.count(b"event: ") <= len(events)


def test_it_is_followed_live_while_its_client_is_gone(http, gateway, acme):
    with wire.started(gateway.root_url, "responses", acme, "sandbox-chat", PACED) as client:
        response_id = id_in(client)
    live = http.events(response_id)
    assert grammar.check(live)["status"] == "completed"
    assert http.events(response_id) == live


def test_a_client_that_leaves_before_it_knows_an_id_cancels_its_call(http, gateway, acme):
    alias("silent", "sandbox-fault-headers-then-silence", resumable_streams=True)
    with wire.started(gateway.root_url, "responses", acme, "silent", "Hi"):
        call = upstream_call(gateway)
        until(lambda: call.first_byte_at is not None)
    until(lambda: call.ended is not None, promised(1.0))
    assert Run.objects.count() == StoredResponse.objects.count() == 0


def test_an_upstream_that_gives_nothing_is_an_http_error_and_keeps_nothing(http):
    alias("failing", "sandbox-fault-500", resumable_streams=True)
    answer = http.post("/responses", json={"model": "failing", "input": "Hi", "stream": True})
    assert answer.status_code == 502
    assert Run.objects.count() == StoredResponse.objects.count() == 0


@each_protocol
@pytest.mark.parametrize("fault", ["cut", "error-mid"])
def test_a_stream_that_breaks_off_is_kept_as_it_was_told(http, protocol, fault):
    alias("failing", f"sandbox-fault-{fault}", protocol, resumable_streams=True)
    events = create(http, protocol, "One two three four five", model="failing")
    final = grammar.check(events)
    assert (final["status"], final["store"]) == ("failed", True)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert http.events(final["id"]) == events
    assert response_of(Run.objects.get())["output"] == as_kept(final)


@each_protocol
def test_a_stream_that_was_opened_before_any_output_is_whole(http, gateway, protocol):
    gateway.limit(commit=0.05, keepalive=0.05)
    body = {"model": f"sandbox-{protocol}", "input": "[wait=600000] [chunks=3]", "stream": True}
    with http.stream("POST", "/responses", json=body) as answer:
        pieces = answer.iter_bytes()
        content = next(pieces)
        while b"event: keepalive" not in content:
            content += next(pieces)
        upstream_call(gateway)
        gateway.sandbox.hurry()
        events = grammar.read(content + b"".join(pieces))
    rest = [event for event in events if event["type"] != "keepalive"]
    assert len(rest) < len(events)
    final = grammar.check(events)
    assert [event["sequence_number"] for event in rest] == list(range(len(rest)))
    assert http.events(final["id"]) == rest


@each_protocol
def test_a_stream_that_was_opened_and_then_fails_says_so_to_all(http, gateway, protocol):
    alias("failing", "sandbox-fault-503", protocol, resumable_streams=True)
    alias("slow", "sandbox-fault-headers-then-silence", protocol, resumable_streams=True)
    gateway.limit(commit=0.1, idle=0.5)
    events = create(http, protocol, model="slow")
    final = grammar.check(events)
    assert final["status"] == "failed"
    assert http.events(final["id"]) == [e for e in events if e["type"] != "keepalive"]


def test_json_and_unstored_streams_keep_no_events(http, gateway):
    http.post("/responses", json={"model": "sandbox-chat", "input": "Hi"})
    create(http, "chat", store=False)
    Alias.objects.update(resumable_streams=False)
    gateway.call(gateway.worker.forget)
    create(http, "chat")
    assert EventChunk.objects.count() == Run.objects.count() == 0


def test_a_conversation_gets_the_turn_once_and_webhooks_hear_nothing(http, acme):
    WebhookEndpoint.objects.create(
        tenant=acme.tenant, url="https://example.com/hook", sealed_secret="v1.nobody.signs"
    )
    Conversation.objects.create(id="conv_1", tenant=acme.tenant)
    final = grammar.check(create(http, "chat", conversation="conv_1"))
    assert final["conversation"] == {"id": "conv_1"}
    assert ConversationItem.objects.count() == 2
    assert WebhookDelivery.objects.count() == 0


def test_the_call_is_recorded_as_any_other(http, outcomes):
    create(http, "chat")
    (line,) = outcomes()
    assert (line["status"], line["background"], line["http_status"]) == ("completed", False, 200)


def test_who_leaves_can_still_end_it(http, gateway, acme):
    """Cancelling is the only way: closing the connection does not end it."""
    alias("endless", "sandbox-fault-never-ending", "chat", resumable_streams=True)
    with wire.started(gateway.root_url, "responses", acme, "endless", "[pace=20]") as client:
        response_id = id_in(client)
    http.cancel(response_id)
    until(lambda: upstream_call(gateway).ended == "client_closed", promised(1.0))
    assert ended(response_id).status == "cancelled"


@each_protocol
def test_who_stays_is_told_that_it_was_ended_by_another(http, gateway, acme, protocol):
    alias("endless", "sandbox-fault-never-ending", protocol, resumable_streams=True)
    with wire.started(gateway.root_url, "responses", acme, "endless", "[pace=20]") as client:
        response_id = id_in(client)
        cancelled = http.cancel(response_id)
        answer = client.answer()
    assert answer.is_whole
    assert answer.data[-1] == b"[DONE]"
    events = answer.events
    assert events[-1]["response"] == cancelled
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert http.events(response_id) == events


def test_a_client_that_takes_nothing_is_left_behind(http, gateway, acme):
    gateway.limit(send_stall=1.0)
    text = "[chunks=400] [size=6000000]"
    with wire.started(
        gateway.root_url, "responses", acme, "sandbox-chat", text, receive_buffer=4096
    ) as client:
        response_id = id_in(client)
        assert ended(response_id).status == "completed"
    assert grammar.check(http.events(response_id))["status"] == "completed"


def test_a_drain_ends_it_as_any_other_stream(http, gateway, acme):
    alias("endless", "sandbox-fault-never-ending", "chat", resumable_streams=True)
    with wire.started(gateway.root_url, "responses", acme, "endless", "[pace=5]") as client:
        response_id = id_in(client)
        gateway.run(gateway.worker.services.registry.drain(0.2, 1.0))
        answer = client.answer()
    assert answer.is_whole
    events = answer.events
    final = grammar.check(events)
    assert "shutting down" in final["error"]["message"]
    gateway.reset()
    assert http.events(response_id) == events


# A database that fails


def failing_appends(good: int) -> AbstractContextManager[None]:
    """Take the database away from appends, after `good` of them."""
    left = [good]

    def write(cursor: Any, records: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise OperationalError("gone")
        return runs.write_appends(cursor, records)

    return storing.written_by(write, runs.Append)


def test_a_stream_outlives_the_database_and_says_that_it_is_not_kept(http, gateway, acme):
    with failing_appends(2):
        events = create(http, "chat", PACED)
    final = grammar.check(events)
    assert (final["status"], final["store"]) == ("completed", False)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert Run.objects.get().status == "in_progress"
    until(lambda: gateway.worker.runs.renewal() is None)


def test_a_stream_that_could_not_even_begin_to_be_kept(http):
    with storing.unreachable(runs.Begin):
        final = grammar.check(create(http, "responses"))
    assert (final["status"], final["store"]) == ("completed", False)
    assert Run.objects.count() == 0


def test_a_background_run_waits_for_a_database_that_comes_back(http):
    failed = [3]

    def write(cursor: Any, records: Any) -> Any:
        failed[0] -= 1
        if failed[0] >= 0:
            raise OperationalError("gone")
        return runs.write_appends(cursor, records)

    with storing.written_by(write, runs.Append):
        events = http.streamed("chat")
    assert grammar.check(events)["status"] == "completed"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
