"""GET /responses/{id}?stream=true: the events again, from any number, then those that come."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import orjson
import pytest

from gateway_project.lib import clock
from gateway_project.lib.errors import Draining
from responses_api.background import run_watcher, runs
from responses_api.models import Run, StoredResponse
from tenants.access.access import OPERATOR
from tenants.deletion import asking
from tenants.deletion import work as deletion
from tests.responses_api.background.conftest import (
    PACED,
    alias,
    client_for,
    ended,
    queued,
    upstream_call,
)
from tests.support import grammar, rows
from tests.support.patience import GIVE_UP_SECONDS, promised, until
from tests.support.wire import Wire

each_protocol = pytest.mark.parametrize("protocol", ["chat", "responses", "anthropic"])


def follow(gateway: Any, secret: str, response_id: str, receive_buffer: int = 0) -> Wire:
    """A client of its own that asked to follow, and has read nothing yet."""
    client = Wire(gateway.root_url, receive_buffer)
    client.send(
        f"GET /v1/responses/{response_id}?stream=true HTTP/1.1\r\nhost: gateway\r\n"
        f"authorization: Bearer {secret}\r\n\r\n".encode()
    )
    return client


# Again


@pytest.mark.persistence
@each_protocol
def test_from_every_number_the_rest_is_the_same(http, protocol):
    whole = http.streamed(protocol, "[reason] [chunks=12]")
    response_id = whole[0]["response"]["id"]
    assert http.events(response_id) == whole
    for number in range(len(whole)):
        assert http.events(response_id, starting_after=number) == whole[number + 1 :]


@pytest.mark.parametrize("prefix", ["/v1", "/openai/v1"])
@pytest.mark.parametrize("stream", ["true", "True", "1"])
def test_every_prefix_and_spelling(gateway, http, acme, prefix, stream):
    whole = http.streamed()
    url = f"{gateway.root_url}{prefix}/responses/{whole[0]['response']['id']}?stream={stream}"
    answer = httpx.get(url, headers=acme.headers)
    assert grammar.read(answer.content) == whole
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-request-id"].startswith("req_")


def test_the_same_bytes_are_sent_again(http):
    body = {"model": "sandbox-responses", "input": "Hi", "background": True, "stream": True}
    first = http.post("/responses", json=body)
    response_id = grammar.read(first.content)[0]["response"]["id"]
    assert http.get(f"/responses/{response_id}?stream=true").content == first.content


@pytest.mark.persistence
def test_many_events_are_sent_again_in_pages(http):
    whole = http.streamed("chat", "[chunks=3000] [size=600000]")
    assert len(whole) > 3000
    assert http.events(whole[0]["response"]["id"]) == whole


# Live


@pytest.mark.persistence
@each_protocol
def test_who_comes_in_the_middle_gets_the_beginning_and_then_the_rest_live(http, gateway, protocol):
    response_id = http.begun(protocol, PACED)
    upstream_call(gateway)
    live = http.events(response_id)
    assert grammar.check(live)["status"] == "completed"
    assert [event["sequence_number"] for event in live] == list(range(len(live)))
    assert http.events(response_id) == live


def test_many_follow_one_run_from_different_numbers(http, gateway, acme):
    response_id = http.begun("chat", PACED)
    until(lambda: Run.objects.get().last_number > 6)

    def rest(after: int) -> list[Any]:
        with client_for(gateway, acme) as client:
            return client.events(response_id, **({} if after < 0 else {"starting_after": after}))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(rest, range(-1, 7)))
    whole = http.events(response_id)
    assert found == [whole[n:] for n in range(8)]


def test_who_follows_hears_at_once_that_it_may_wait(http, gateway, acme):
    gateway.limit(keepalive=60)
    order = queued(acme.tenant.pk, model="sandbox-chat")  # and nobody takes it
    last = Run.objects.get().last_number
    url = f"/responses/{order.response_id}?stream=true&starting_after={last}"
    client = client_for(gateway, acme)
    with client, client.stream("GET", url) as answer:
        assert answer.status_code == 200
    assert Run.objects.get().last_number == last


@pytest.mark.persistence
def test_who_follows_before_a_worker_took_it_misses_nothing(http, gateway, acme):
    order = queued(acme.tenant.pk, model="sandbox-chat")
    StoredResponse.objects.update(key_public_id=acme.key.public_id)
    request = {
        "request_id": "req_1",
        "body": {"model": "sandbox-chat", "input": "Hi", "background": True, "stream": True},
        "size": 1,
        "headers": {},
    }
    Run.objects.update(request=orjson.dumps(request), lease_until="2020-01-01T00:00Z")
    with follow(gateway, acme.secret, order.response_id) as client:
        client.wait_for(b"response.queued")
        gateway.run(gateway.worker.runs.look())
        events = client.answer().events
    assert grammar.check(events)["status"] == "completed"


def test_silence_is_filled_with_keepalives_that_have_no_number_of_their_own(http, gateway, acme):
    alias("silent", "sandbox-fault-200-then-silence-after-n", "chat")
    gateway.limit(keepalive=0.1)
    response_id = http.begun(model="silent", text="One two three four five")
    with follow(gateway, acme.secret, response_id) as client:
        client.wait_for(b"keepalive")
        client.wait_for(b"keepalive")
        http.cancel(response_id)
        events = client.answer().events
    alive = [event for event in events if event["type"] == "keepalive"]
    assert alive[0]["sequence_number"] == Run.objects.get().last_number - 1
    rest = [event for event in events if event["type"] != "keepalive"]
    assert [event["sequence_number"] for event in rest] == list(range(len(rest)))
    assert http.events(response_id) == rest


@pytest.mark.long
def test_nobody_waits_for_a_client_that_reads_nothing(http, gateway, acme):
    whole = http.streamed("chat", "[chunks=200] [size=6000000]")
    gateway.limit(send_stall=0.3)
    client = follow(gateway, acme.secret, whole[0]["response"]["id"], receive_buffer=4096)
    client.wait_for(b"response.created")
    registry = gateway.worker.services.registry
    until(lambda: not gateway.call(lambda: len(registry)))
    client.until_closed()
    assert len(client.received) < 6_000_000
    assert b"[DONE]" not in client.received


def test_a_client_that_leaves_ends_nothing_but_its_own_stream(http, gateway, acme):
    alias("endless", "sandbox-fault-never-ending", "chat")
    response_id = http.begun(model="endless", text="[pace=20]")
    with follow(gateway, acme.secret, response_id) as client:
        client.wait_for(b"output_text.delta")
    registry = gateway.worker.services.registry
    until(lambda: not any("follows" in running.request_id for running in registry.running))
    assert Run.objects.get().status == "in_progress"
    assert upstream_call(gateway).ended is None


@pytest.mark.persistence
def test_a_run_that_is_deleted_is_not_taken_for_complete(http, gateway, acme):
    order = queued(acme.tenant.pk)
    with follow(gateway, acme.secret, order.response_id) as client:
        client.wait_for(b"response.queued")
        Run.objects.all().delete()
        answer = client.answer()
    assert not answer.is_whole
    assert b"[DONE]" not in answer.body


def test_a_drain_cuts_who_still_follows_so_that_they_come_back_elsewhere(http, gateway, acme):
    order = queued(acme.tenant.pk)
    with follow(gateway, acme.secret, order.response_id) as client:
        client.wait_for(b"response.queued")
        gateway.run(gateway.worker.services.registry.drain(0.1, 1.0))
        answer = client.answer()
    assert not answer.is_whole
    assert b"[DONE]" not in answer.body
    refused = http.get(f"/responses/{order.response_id}?stream=true")
    assert (refused.status_code, refused.json()) == (503, Draining().body())


@pytest.mark.persistence
def test_a_lost_run_ends_for_those_who_follow_it(http, gateway, acme):
    order = queued(acme.tenant.pk)
    begun = runs.start(order, "somebody dead")
    assert begun is not None
    with follow(gateway, acme.secret, order.response_id) as client:
        client.wait_for(b"response.in_progress")
        Run.objects.update(lease_until="2020-01-01T00:00Z")
        runs.fail(Run.objects.get(), "lost")
        events = client.answer().events
    final = grammar.check(events)
    assert (final["status"], final["error"]["message"]) == ("failed", "lost")


@pytest.mark.persistence
def test_who_was_told_more_than_the_database_kept_is_cut_off_and_holds_up_nobody(
    http, gateway, acme
):
    """A database that lost its last commits ends the run at an event before the last that was sent."""
    alias("endless", "sandbox-fault-never-ending", "chat")
    response_id = http.begun(model="endless", text="[pace=20]")
    with follow(gateway, acme.secret, response_id) as client:
        client.wait_for(b'"sequence_number":6')
        Run.objects.update(status="failed", last_number=5, owner="", ended_at=clock.now())
        answer = client.answer()
    assert not answer.is_whole
    assert b"[DONE]" not in answer.body
    assert http.get(f"/responses/{response_id}").status_code == 200


# What cannot be followed


def refusal(http: Any, response_id: str, **query: Any) -> tuple[int, Any]:
    answer = http.get(f"/responses/{response_id}", params={"stream": "true", **query})
    return answer.status_code, answer.json()["error"]


@pytest.mark.parametrize("given", ["-1", "x", "1.5", "", " 1", "\u0661", "9" * 10, "0x1", "1e3"])
def test_a_malformed_number_is_named(http, given):
    response_id = http.streamed()[0]["response"]["id"]
    status, error = refusal(http, response_id, starting_after=given)
    assert (status, error["param"]) == (400, "starting_after")


@pytest.mark.persistence
def test_a_number_beyond_the_end_is_named(http):
    whole = http.streamed()
    response_id = whole[0]["response"]["id"]
    status, error = refusal(http, response_id, starting_after=len(whole))
    assert (status, error["param"]) == (400, "starting_after")
    assert http.events(response_id, starting_after=len(whole) - 1) == []


def test_a_response_without_events_says_which_have_them(http):
    stored = http.post("/responses", json={"model": "sandbox-chat", "input": "Hi"}).json()
    polled = http.create()
    ended(polled["id"])
    for response in (stored, polled):
        status, error = refusal(http, response["id"])
        assert (status, error["param"]) == (400, "stream")
        assert "'background' and 'stream'" in error["message"]


def test_unknown_foreign_and_malformed_ids_give_the_same_answer(http, gateway):
    response_id = http.streamed()[0]["response"]["id"]
    other = rows.customer("other")
    with client_for(gateway, other) as stranger:
        foreign = stranger.get(f"/responses/{response_id}?stream=true")
    answers = [
        http.get(f"/responses/{unknown}?stream=true{more}")
        for unknown in ("resp_unknown", "x", "resp_" + "0" * 48, "resp_%00", "%E2%82%AC")
        for more in ("", "&starting_after=3")
    ]
    assert {answer.content for answer in answers} == {foreign.content}
    assert {answer.status_code for answer in answers} == {foreign.status_code} == {404}


def test_who_may_not_read_may_not_follow(http, gateway, acme):
    response_id = http.streamed()[0]["response"]["id"]
    acme.key.scopes = ["generate", "store"]
    acme.key.save()
    gateway.call(gateway.worker.forget)
    status, error = refusal(http, response_id)
    assert (status, error["code"]) == (403, "insufficient_scope")
    answer = httpx.get(f"{gateway.base_url}/responses/{response_id}?stream=true")
    assert answer.status_code == 401


# Ending


@pytest.mark.persistence
@each_protocol
def test_a_cancelled_run_closes_its_upstream_and_tells_everybody(http, gateway, acme, protocol):
    alias("endless", "sandbox-fault-never-ending", protocol)
    response_id = http.begun(model="endless", text="[pace=20]")
    call = upstream_call(gateway)
    with follow(gateway, acme.secret, response_id) as client:
        client.wait_for(b"output_text.delta")
        cancelled = http.cancel(response_id)
        events = client.answer().events
    until(lambda: call.ended is not None, promised(1.0))
    assert call.ended == "client_closed"
    assert (events[-1]["type"], events[-1]["response"]) == ("response.incomplete", cancelled)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    gateway.idle()
    assert Run.objects.get().status == "cancelled"
    assert http.events(response_id) == events


def test_a_silent_upstream_is_closed_as_well(http, gateway, acme):
    alias("silent", "sandbox-fault-silence")
    response_id = http.create(model="silent")["id"]
    call = upstream_call(gateway)
    until(lambda: Run.objects.get().status == "in_progress")
    http.cancel(response_id)
    until(lambda: call.ended is not None, promised(1.0))
    gateway.idle()
    assert Run.objects.get().status == "cancelled"


@pytest.mark.persistence
def test_the_deletion_of_a_tenant_closes_the_upstreams_of_its_runs(http, gateway, acme):
    alias("silent", "sandbox-fault-silence")
    http.create(model="silent")
    call = upstream_call(gateway)
    until(lambda: Run.objects.get().status == "in_progress")
    asking.ask(acme.tenant, OPERATOR, typed_slug=acme.tenant.slug)
    until(lambda: call.ended is not None, promised(1.0))
    gateway.idle()
    for _ in deletion.erase_tenants():
        pass
    assert not StoredResponse.objects.filter(tenant=acme.tenant).exists()


@pytest.mark.persistence
def test_a_cancellation_between_queue_and_worker_means_no_call(http, gateway, acme):
    order = queued(acme.tenant.pk)
    http.cancel(order.response_id)
    gateway.call(lambda: gateway.worker.runs.make(acme.tenant.pk, order.response_id))
    until(lambda: not gateway.worker.runs.running_count)
    assert len(gateway.sandbox.calls) == 0


@pytest.mark.persistence
def test_a_cancellation_between_start_and_call_is_not_missed(http, gateway, acme, monkeypatch):
    """The worker may hear of it, from a client that follows, before there is a call to end."""
    alias("silent", "sandbox-fault-silence")
    start = runs.start

    def start_and_cancel(order: Any, owner: str) -> Any:
        started = start(order, owner)
        runs.cancel(order.tenant_id, order.response_id)
        until(lambda: known(order.response_id) == "cancelled")
        return started

    def known(response_id: str) -> str:
        state = gateway.worker.run_watcher.known(acme.tenant.pk, response_id)
        return state.status if state is not None else ""

    monkeypatch.setattr(runs, "start", start_and_cancel)
    body = {"model": "silent", "input": "Hi", "background": True, "stream": True}
    events = grammar.read(http.post("/responses", json=body).content)
    assert events[-1]["response"]["status"] == "cancelled"
    until(lambda: not gateway.worker.runs.running_count)
    assert len(gateway.sandbox.calls) == 0


@pytest.mark.persistence
def test_cancelling_at_any_moment_leaves_one_end(http, gateway, acme):
    """Cancels race with the last events of short runs; whoever is first, everybody says the same."""
    for delay in range(12):
        response_id = http.begun("chat", "[chunks=4] [pace=5]")
        done = threading.Event()
        timer = threading.Timer(delay * 0.006, done.set)
        timer.start()
        done.wait()
        cancelled = http.cancel(response_id)
        gateway.idle()
        events = http.events(response_id)
        row = Run.objects.get(pk=response_id)
        assert events[-1]["response"]["status"] == cancelled["status"] == row.status
        assert row.response.status == row.status
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert sum(event["type"] in grammar.TERMINAL for event in events) == 1


@pytest.mark.persistence
async def test_a_run_that_begins_while_the_database_is_read_was_not_deleted(monkeypatch):
    loop = asyncio.get_running_loop()
    told: list[run_watcher.RunState | None] = []
    watching = run_watcher.RunWatcher(None)
    begun = run_watcher.RunState("in_progress", 0)

    async def told_meanwhile():
        watching.tell(1, "resp_1", begun)

    def read_too_early(response_ids):
        asyncio.run_coroutine_threadsafe(told_meanwhile(), loop).result(GIVE_UP_SECONDS)
        return {}

    monkeypatch.setattr(run_watcher, "_states", read_too_early)
    with watching.watching(1, "resp_1", told.append):
        await watching._look()

    assert told == [begun]
