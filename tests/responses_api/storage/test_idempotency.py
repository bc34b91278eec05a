"""Idempotency-Key: one call upstream for all requests with one key, and one answer for all of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest
from openai import OpenAI

from gateway_project.lib import clock
from responses_api.models import IdempotentCall, StoredResponse
from responses_api.storage import idempotent_calls
from responses_api.storage.idempotent_calls import EndedCall, Found, KeyClaim, KeyedCallEnd, Lost
from routing.models import Provider, ProviderModel, Target
from tenants.keys import keys
from tests.support import grammar, rows, storing, wire
from tests.support.client import PATHS, client_of, question
from tests.support.grammar import without_keepalives
from tests.support.live import LiveGateway
from tests.support.patience import GIVE_UP_SECONDS, growing, until
from tests.support.rows import Customer
from tests.support.wire import Wire

Json = dict[str, Any]

KEY = "order-7731"
# Of this many words only the first comes before the sandbox is told to hurry.
HELD = "[chunks=30] [pace=600000]"
AT_THE_END = b'"completed_at":1'  # null before
DOORS = ("chat", "responses")
each_door = pytest.mark.parametrize("door", DOORS)
each_protocol = pytest.mark.parametrize("protocol", ["chat", "responses", "anthropic"])
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(60) as pool:
        yield pool


def ask(
    http: httpx.Client,
    door: str = "responses",
    text: str = "Hi",
    *,
    key: str = KEY,
    model: str = "",
    stream: bool = False,
    **fields: Any,
) -> httpx.Response:
    body = question(door, model or f"sandbox-{door}", text, stream, **fields)
    return http.post(PATHS[door], json=body, headers={"idempotency-key": key})


def replayed(answer: httpx.Response) -> bool:
    return "idempotent-replayed" in answer.headers


def row() -> IdempotentCall:
    return IdempotentCall.objects.get()


# The stored answer


@pytest.mark.persistence
@each_door
@each_protocol
@streamed_or_not
def test_the_same_request_again_gets_the_same_bytes_and_costs_nothing(
    http, gateway, door, protocol, stream
):
    model = f"sandbox-{protocol}"
    first = ask(http, door, model=model, stream=stream)
    again = ask(http, door, model=model, stream=stream)

    assert first.status_code == again.status_code == 200
    assert first.content == again.content
    assert first.headers["content-type"] == again.headers["content-type"]
    assert (replayed(first), again.headers["idempotent-replayed"]) == (False, "true")
    assert first.headers["x-request-id"] != again.headers["x-request-id"]
    assert len(gateway.sandbox.calls) == 1


def test_headers_that_belong_to_the_answer_come_back_with_it(http):
    hosted: Any = {"tools": [{"type": "web_search"}], "model": "sandbox-chat"}
    first, again = ask(http, **hosted), ask(http, **hosted)

    assert again.headers["x-tollgate-dropped"] == first.headers["x-tollgate-dropped"]
    assert again.headers["content-length"] == first.headers["content-length"]


@pytest.mark.persistence
@streamed_or_not
def test_the_answer_and_the_response_are_committed_before_the_client_knows_the_end(
    gateway, acme, stream
):
    body = question("responses", "sandbox-responses", "Hi", stream)
    client = Wire(gateway.root_url)
    with storing.held(EndedCall) as ending:
        client.send(wire.request("responses", acme, body, idempotency_key=KEY))
        assert ending.arrived.wait(GIVE_UP_SECONDS)
        if stream:
            client.wait_for(b"response.output_item.done")
        assert AT_THE_END not in client.received
        assert row().state == "running"
    answer = client.answer()

    assert AT_THE_END in answer.body
    assert bytes(row().answer) == answer.body
    assert StoredResponse.objects.count() == 1


@each_door
def test_an_answer_that_is_not_stored_is_replayed_as_well(http, gateway, door):
    first, again = (ask(http, door, store=False) for _ in range(2))

    assert first.content == again.content
    assert StoredResponse.objects.count() == 0
    assert len(gateway.sandbox.calls) == 1


@pytest.mark.persistence
def test_an_answer_lives_for_a_day(http, gateway):
    first = ask(http)
    lifetime = row().expires_at - row().created_at
    assert timedelta(hours=24) <= lifetime < timedelta(hours=24, minutes=1)
    IdempotentCall.objects.update(expires_at=clock.now() - timedelta(seconds=1))

    other = ask(http)

    assert not replayed(other)
    assert other.json()["id"] != first.json()["id"]
    assert ask(http).content == other.content


def test_without_the_header_nothing_is_kept(http):
    http.post("/responses", json=question("responses", "sandbox-chat", "Hi", False))

    assert IdempotentCall.objects.count() == 0


def test_what_was_paid_for_is_on_record_once(http, outcomes):
    for text in ("Hi", "Hi", "Other"):
        ask(http, text=text)

    assert [(line["status"], line["http_status"]) for line in outcomes()] == [
        ("completed", 200),
        ("replayed", 200),
        ("refused", 422),
    ]


# What a key may be, and what it belongs to


def test_another_body_with_the_same_key_is_refused(http, gateway):
    ask(http, text="One thing")
    answer = ask(http, text="Another thing")

    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("idempotency_key_reused", "Idempotency-Key")
    assert len(gateway.sandbox.calls) == 1


def test_the_same_body_at_another_route_is_another_request(http):
    messages = [{"role": "user", "content": "Hi"}]
    both = {"input": "Hi", "messages": messages, "model": "sandbox-responses"}
    headers = {"idempotency-key": KEY}

    assert http.post("/responses", json=both, headers=headers).status_code == 200
    assert http.post("/chat/completions", json=both, headers=headers).status_code == 422


def test_both_prefixes_are_one_route(http, gateway):
    first = ask(http)
    again = ask(http, door="responses")
    other_prefix = http.post(
        f"{gateway.root_url}/openai/v1/responses",
        content=first.request.content,
        headers={"idempotency-key": KEY},
    )

    assert first.content == again.content == other_prefix.content


@pytest.mark.persistence
def test_a_key_belongs_to_its_tenant(http, gateway):
    with client_of(gateway, rows.customer("zenith")) as stranger:
        mine, theirs = ask(http), ask(stranger)
        other_body = ask(stranger, text="Something else")

    assert mine.json()["id"] != theirs.json()["id"]
    assert not replayed(theirs)
    assert other_body.status_code == 422
    assert len(gateway.sandbox.calls) == 2


def test_another_api_key_of_the_tenant_gets_the_answer_only_if_it_may_use_the_model(
    http, gateway, acme
):
    ask(http)
    equal = Customer(acme.tenant, *_revealed(keys.create(acme.tenant, "equal")))
    lesser = Customer(
        acme.tenant, *_revealed(keys.create(acme.tenant, "lesser", all_aliases=False))
    )

    with client_of(gateway, equal) as may, client_of(gateway, lesser) as may_not:
        assert replayed(ask(may))
        refused = ask(may_not)

    assert refused.json()["error"]["code"] == "model_not_found"


def _revealed(created):
    key, secret = created
    return key, secret.reveal()


@pytest.mark.parametrize("key", ["", "a" * 256, "two words", "caf\xe9", "tab\there"])
def test_a_key_that_cannot_be_one_is_refused_by_name(http, gateway, key):
    body = orjson.dumps(question("responses", "sandbox-chat", "Hi", False))
    headers = [("content-type", "application/json"), ("idempotency-key", key.encode("latin-1"))]
    answer = http.post("/responses", content=body, headers=headers)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "Idempotency-Key"
    assert IdempotentCall.objects.count() == 0


@pytest.mark.parametrize("key", ["!", "~" * 255, "550e8400-e29b-41d4-a716-446655440000"])
def test_a_key_is_up_to_255_visible_characters(http, key):
    assert ask(http, key=key).content == ask(http, key=key).content


def test_two_keys_in_one_request_are_refused_unless_they_are_the_same(http):
    body = orjson.dumps(question("responses", "sandbox-chat", "Hi", False))

    def send(*given: str) -> httpx.Response:
        headers = [("idempotency-key", key) for key in given]
        return http.post("/responses", content=body, headers=headers)

    assert send("one", "two").json()["error"]["param"] == "Idempotency-Key"
    assert send("one", "one").status_code == 200


# Joining


@pytest.mark.persistence
@each_door
@streamed_or_not
def test_fifty_at_once_are_one_call_and_one_answer(http, gateway, pool, door, stream):
    answers = list(pool.map(lambda _: ask(http, door, "[wait=150] Hi", stream=stream), range(50)))

    assert [answer.status_code for answer in answers] == [200] * 50
    assert len({answer.content for answer in answers}) == 1
    assert sorted(map(replayed, answers)) == [False] + [True] * 49
    assert len(gateway.sandbox.calls) == 1
    assert IdempotentCall.objects.count() == 1


@pytest.mark.persistence
def test_one_that_joins_a_stream_gets_signs_of_life_and_then_all_of_it(gateway, acme, pool):
    gateway.limit(commit=0.05, keepalive=0.05)
    owner = streaming(gateway, acme, HELD)
    owner.wait_for(b"response.output_text.delta")
    joiner = streaming(gateway, acme, HELD)
    joiner.wait_for(b": keep-alive\n\n")
    gateway.sandbox.hurry()

    first, joined = owner.answer(), joiner.answer()

    assert joined.is_whole
    assert joined.headers["idempotent-replayed"] == "true"
    assert joined.body.startswith(b": keep-alive\n\n")
    assert joined.body.replace(b": keep-alive\n\n", b"") == without_keepalives(first.body)
    grammar.check_stream(joined.body)
    assert len(gateway.sandbox.calls) == 1


def streaming(
    gateway: LiveGateway, customer: Customer, text: str, door: str = "responses", model: str = ""
) -> Wire:
    """A client that has sent its request with the key and read nothing yet."""
    client = Wire(gateway.root_url)
    body = question(door, model or f"sandbox-{door}", text, True)
    client.send(wire.request(door, customer, body, idempotency_key=KEY))
    return client


def test_signs_of_life_are_no_part_of_the_answer(gateway, acme, monkeypatch):
    transport, may_begin = gateway.worker.services.transport, threading.Event()
    usual = transport.post

    async def held(*given: Any, **more: Any) -> Any:
        answer = await usual(*given, **more)
        await asyncio.to_thread(may_begin.wait, GIVE_UP_SECONDS)
        return answer

    monkeypatch.setattr(transport, "post", held)
    gateway.limit(commit=0.05, keepalive=0.05)
    owner = streaming(gateway, acme, "Hi")
    owner.wait_for(b"event: keepalive")
    may_begin.set()
    first = owner.answer()
    gateway.limit(commit=60.0, keepalive=60.0)  # what is kept is looked up in silence
    again = streaming(gateway, acme, "Hi").answer()

    assert b"event: keepalive" in first.body
    assert again.body == without_keepalives(first.body)
    assert len(gateway.sandbox.calls) == 1


@pytest.mark.persistence
@each_door
@streamed_or_not
def test_the_call_goes_on_when_the_client_that_made_it_leaves(gateway, acme, door, stream):
    body = question(door, f"sandbox-{door}", "[chunks=5] [wait=600000]", stream)
    with Wire(gateway.root_url) as leaving:
        leaving.send(wire.request(door, acme, body, idempotency_key=KEY))
        until(lambda: len(gateway.sandbox.calls) == 1)

    with Wire(gateway.root_url) as retry:
        retry.send(wire.request(door, acme, body, idempotency_key=KEY))
        gateway.sandbox.hurry()
        answer = retry.answer()

    assert answer.status == 200
    assert answer.is_whole
    assert answer.headers["idempotent-replayed"] == "true"
    gateway.idle()
    assert [call.ended for call in gateway.sandbox.calls] == ["completed"]


def test_a_client_that_joined_and_left_leaves_the_call_alone(gateway, acme, http):
    owner = streaming(gateway, acme, HELD)
    owner.wait_for(b"response.output_text.delta")
    with streaming(gateway, acme, HELD):
        until(lambda: len(gateway.worker.services.registry) == 2)
    until(lambda: len(gateway.worker.services.registry) == 1)
    gateway.sandbox.hurry()

    assert owner.answer().data[-1] == b"[DONE]"
    assert row().state == "answered"


def test_a_client_that_reads_nothing_does_not_hold_up_those_that_joined(gateway, acme):
    gateway.limit(send_stall=1.0)
    text = "[chunks=2000] [size=1000000]"
    stalled = Wire(gateway.root_url, receive_buffer=4096)
    body = question("responses", "sandbox-responses", text, True)
    stalled.send(wire.request("responses", acme, body, idempotency_key=KEY))
    until(lambda: bool(gateway.sandbox.calls))
    with Wire(gateway.root_url) as joiner:
        joiner.send(wire.request("responses", acme, body, idempotency_key=KEY))
        answer = joiner.answer()

    assert answer.events[-1]["type"] == "response.completed"
    assert len(gateway.sandbox.calls) == 1


# Failures free the key


def failing(gateway: LiveGateway, fault: str, door: str = "responses") -> str:
    provider = Provider.objects.get(name=f"sandbox-{door}")
    rows.alias("failing", (provider, f"sandbox-fault-{fault}"))
    return "failing"


def mend(gateway: LiveGateway) -> None:
    """Let the alias's provider answer well from now on."""
    target = Target.objects.get(alias__name="failing")
    provider = target.provider_model.provider
    target.provider_model = ProviderModel.objects.get(provider=provider, upstream_id="sandbox-1")
    target.save()
    gateway.call(gateway.worker.forget)


@pytest.mark.persistence
@each_door
@streamed_or_not
def test_a_call_that_failed_frees_its_key(http, gateway, door, stream):
    model = failing(gateway, "500", door)
    failed = ask(http, door, model=model, stream=stream)
    mend(gateway)
    good = ask(http, door, model=model, stream=stream)
    again = ask(http, door, model=model, stream=stream)

    assert (failed.status_code, good.status_code) == (502, 200)
    assert (replayed(good), replayed(again)) == (False, True)
    assert good.content == again.content


@each_door
def test_a_stream_that_failed_frees_its_key(gateway, acme, door):
    model = failing(gateway, "error-mid", door)
    failed = streaming(gateway, acme, "[chunks=9]", door, model).answer()
    mend(gateway)
    good = streaming(gateway, acme, "[chunks=9]", door, model).answer()

    assert b"[DONE]" not in failed.body if door == "chat" else b"response.failed" in failed.body
    assert good.is_whole
    assert "idempotent-replayed" not in good.headers
    assert row().state == "answered"


def test_no_sign_of_life_comes_between_a_failure_and_its_answer(http, gateway, acme, monkeypatch):
    """The failure is committed before it is told, which may take longer than clients are left in silence."""
    refused = rows.provider("chat", gateway.sandbox.fault_urls["connect-refused"], "away")
    rows.alias("away", (refused, "any"))
    calls = gateway.worker.idempotent_calls
    usual = calls.end
    for door in DOORS:
        for commit in growing(0.04):

            async def slow(*given: Any, seconds: float = 3 * commit) -> None:
                await asyncio.sleep(seconds)
                await usual(*given)

            monkeypatch.setattr(calls, "end", slow)
            gateway.limit(commit=commit)
            answer = ask(http, door, model="away", stream=True, key=f"key-{door}-{commit}")
            if answer.status_code != 200:  # it failed before its client was to hear something
                break
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unreachable")


@pytest.mark.persistence
def test_a_request_that_is_refused_frees_its_key_for_any_other(http):
    refused = ask(http, previous_response_id="resp_unknown")
    good = ask(http)

    assert refused.json()["error"]["code"] == "previous_response_not_found"
    assert (good.status_code, replayed(good)) == (200, False)


@each_door
@streamed_or_not
def test_those_that_joined_a_call_that_fails_get_its_error(http, gateway, pool, door, stream):
    model = failing(gateway, "500", door)
    answers = list(
        pool.map(lambda _: ask(http, door, "[wait=300]", model=model, stream=stream), range(10))
    )

    joined = [answer for answer in answers if replayed(answer)]
    assert {answer.status_code for answer in answers} == {502}
    assert len({answer.content for answer in answers}) == 1
    assert len(joined) == len(answers) - len(gateway.sandbox.calls)
    assert joined


@each_door
def test_those_that_joined_a_stream_that_fails_get_the_same_stream(gateway, acme, door):
    model = failing(gateway, "error-mid", door)
    gateway.limit(commit=0.05, keepalive=0.05)
    text = "[chunks=9] [pace=600000]"
    owner = streaming(gateway, acme, text, door, model)
    owner.wait_for(b"text/event-stream")
    until(lambda: len(gateway.sandbox.calls) == 1)
    joiner = streaming(gateway, acme, text, door, model)
    joiner.wait_for(b": keep-alive\n\n")
    gateway.sandbox.hurry()

    failed, joined = owner.answer(), joiner.answer()

    assert joined.headers["idempotent-replayed"] == "true"
    assert without_keepalives(joined.body) == without_keepalives(failed.body)
    assert joined.is_whole == failed.is_whole == (door == "responses")
    assert len(gateway.sandbox.calls) == 1


def test_a_call_that_an_operator_cancels_frees_its_key(http, gateway, acme):
    owner = streaming(gateway, acme, "[chunks=1000] [pace=20]")
    owner.wait_for(b"response.output_text.delta")
    [running] = gateway.worker.services.registry.running
    gateway.call(lambda: gateway.worker.services.registry.cancel(running.request_id))

    assert owner.answer().events[-1]["type"] == "response.failed"
    assert row().state == "failed"


@each_door
def test_one_that_joined_is_told_when_the_server_stops(gateway, acme, door):
    gateway.limit(commit=0.05, keepalive=0.05)
    text = "[chunks=1000] [pace=20]"
    owner = streaming(gateway, acme, text, door)
    owner.wait_for(b"content")
    joiner = streaming(gateway, acme, text, door)
    joiner.wait_for(b": keep-alive")
    gateway.call(gateway.worker.services.registry.interrupt_all)

    told = joiner.answer()
    assert b"shutting down" in told.body
    assert told.is_whole == (door == "responses")
    owner.answer()
    if door == "responses":
        assert grammar.check_stream(told.body)["status"] == "failed"


@pytest.fixture
def small_replays(gateway: LiveGateway) -> None:
    """Answers above 2,000 bytes are not kept."""
    gateway.change(max_replay_bytes=2000)


@pytest.mark.persistence
@streamed_or_not
def test_an_answer_above_the_limit_is_given_once_and_frees_the_key(
    http, gateway, small_replays, pool, stream
):
    text = "[wait=600000] [size=5000]"
    asked = [pool.submit(ask, http, text=text, stream=stream) for _ in range(3)]
    until(lambda: len(gateway.worker.services.registry) == 3 and len(gateway.sandbox.calls) == 1)
    gateway.sandbox.hurry()
    answers = [each.result() for each in asked]

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.json()["error"]["code"] == "idempotent_answer_too_large"
    assert refused.headers["x-should-retry"] == "false"
    assert row().state == "failed"
    assert ask(http, text="Small").status_code == 200


# The database, and owners that die


@pytest.mark.persistence
def test_without_the_database_a_key_cannot_be_honoured(http, gateway):
    body = {**question("responses", "sandbox-chat", "Hi", False), "store": False}
    with storing.unreachable(KeyClaim):
        answer = ask(http, store=False)
        without_key = http.post("/responses", json=body)

    assert answer.status_code == 503
    assert "Idempotency-Key" in answer.json()["error"]["message"]
    assert answer.headers["retry-after"] == "2"
    assert without_key.status_code == 200
    assert len(gateway.sandbox.calls) == 1


@pytest.mark.persistence
def test_an_answer_that_could_not_be_kept_is_given_all_the_same(http, gateway):
    with storing.unreachable(EndedCall):
        answer = ask(http, store=False)

        assert row().state == "running"
    assert answer.status_code == 200
    assert gateway.call(lambda: gateway.worker.idempotent_calls.running) == ()
    until(lambda: row().state == "answered")  # once the database is back


def elsewhere(acme: Customer, request: httpx.Request, lease: timedelta) -> IdempotentCall:
    """A row as another process leaves it that runs the call."""
    from responses_api.idempotency.calls import key_of  # noqa: PLC0415

    key = key_of([(b"idempotency-key", KEY.encode())], "responses", request.content)
    assert key is not None
    return IdempotentCall.objects.create(
        tenant=acme.tenant,
        key_digest=key.key_digest,
        request_digest=key.request_digest,
        owner="req_elsewhere",
        lease_until=clock.now() + lease,
        expires_at=clock.now() + timedelta(hours=24),
    )


@pytest.mark.persistence
@streamed_or_not
def test_a_call_whose_owner_died_is_made_anew(http, gateway, acme, stream):
    request = http.build_request(
        "POST", "/responses", json=question("responses", "sandbox-responses", "Hi", stream)
    )
    elsewhere(acme, request, lease=timedelta(seconds=-1))

    answer = ask(http, stream=stream)

    assert (answer.status_code, replayed(answer)) == (200, False)
    assert row().state == "answered"


@pytest.mark.persistence
def test_those_that_wait_for_an_owner_that_dies_make_one_call(http, gateway, acme, pool):
    request = http.build_request(
        "POST", "/responses", json=question("responses", "sandbox-responses", "Hi", False)
    )
    elsewhere(acme, request, lease=timedelta(seconds=1))

    answers = list(pool.map(lambda _: ask(http), range(10)))

    assert [answer.status_code for answer in answers] == [200] * 10
    assert sorted(map(replayed, answers)) == [False] + [True] * 9
    assert len(gateway.sandbox.calls) == 1


@pytest.mark.persistence
def test_a_stream_that_has_begun_to_wait_is_failed_when_the_owner_dies(http, gateway, acme):
    gateway.limit(commit=0.05, keepalive=0.05)
    request = http.build_request(
        "POST", "/responses", json=question("responses", "sandbox-responses", "Hi", True)
    )
    held = elsewhere(acme, request, lease=timedelta(hours=1))
    headers = {"idempotency-key": KEY, "content-type": "application/json"}
    with http.stream("POST", "/responses", content=request.content, headers=headers) as answer:
        lines = answer.iter_bytes()
        begun = next(lines)
        IdempotentCall.objects.filter(pk=held.pk).update(lease_until=clock.now())
        whole = begun + b"".join(lines)

    assert grammar.check_stream(whole)["error"]["message"].startswith("The call that this")
    retry = ask(http, stream=True)
    assert grammar.check_stream(retry.content)["status"] == "completed"


@pytest.mark.persistence
def test_an_answer_of_another_process_is_awaited(http, gateway, acme, pool):
    request = http.build_request(
        "POST", "/responses", json=question("responses", "sandbox-responses", "Hi", False)
    )
    row = elsewhere(acme, request, lease=timedelta(seconds=30))
    waiting: Future[httpx.Response] = pool.submit(ask, http)
    until(lambda: len(gateway.worker.services.registry) == 1)
    IdempotentCall.objects.filter(pk=row.pk).update(
        state="answered", http_status=200, headers={"x-of": "it"}, answer=b'{"its": "answer"}'
    )

    answer = waiting.result()

    assert answer.json() == {"its": "answer"}
    assert answer.headers["x-of"] == "it"
    assert len(gateway.sandbox.calls) == 0


@pytest.mark.persistence
def test_leases_are_renewed_while_the_loop_is_busy_but_not_once_it_is_stuck(
    gateway, acme, http, monkeypatch
):
    owner = streaming(gateway, acme, "[chunks=1000] [pace=20]")
    owner.wait_for(b"response.output_text.delta")
    first, free = row().lease_until, threading.Event()
    gateway.loop.call_soon_threadsafe(free.wait, GIVE_UP_SECONDS)
    gateway.worker.leases.look()
    until(lambda: row().lease_until > first)
    with monkeypatch.context() as patch:
        # From here on neither we nor the worker's own thread renew; what they began before is written first.
        patch.setattr("gateway_project.lib.heartbeat.STUCK_SECONDS", 0.0)
        free.set()
        ask(http, key="another")
        renewed = IdempotentCall.objects.order_by("id")[0].lease_until
        gateway.worker.leases.look()
        ask(http, key="one more")  # written after whatever was to be renewed
        assert IdempotentCall.objects.order_by("id")[0].lease_until == renewed
    owner.socket.close()
    gateway.call(gateway.worker.services.registry.interrupt_all)
    gateway.idle()
    assert gateway.worker.idempotent_calls.renewal() is None


@pytest.mark.persistence
def test_an_owner_that_was_overtaken_changes_nothing(http, acme, gateway):
    ask(http)
    found = Found(row().pk, acme.tenant.pk, "req_overtaken", is_same_request=True)
    late = EndedCall(found, KeyedCallEnd(500, {}, b"late", is_failure=True))

    gateway.run(gateway.worker.services.writer.write(late))

    assert row().state == "answered"
    with pytest.raises(Lost):
        idempotent_calls.ending_of(found)


@pytest.mark.persistence
def test_a_claim_may_be_repeated_by_its_owner(gateway, acme):
    claim = KeyClaim(acme.tenant.pk, b"k" * 32, b"r" * 32, "req_1")

    first = gateway.run(gateway.worker.services.writer.write(claim))
    again = gateway.run(gateway.worker.services.writer.write(claim))

    assert first == again
    assert first.owner == "req_1"


# Clients


@streamed_or_not
def test_the_official_sdk_sends_a_key_as_an_extra_header(gateway, acme, stream):
    with OpenAI(base_url=gateway.base_url, api_key=acme.secret, timeout=GIVE_UP_SECONDS) as client:

        def create() -> Any:
            made: Any = client.responses.create(
                model="sandbox-chat",
                input="Hi",
                stream=stream,
                extra_headers={"Idempotency-Key": KEY},
            )
            return [event.to_dict() for event in made] if stream else made.to_dict()

        assert create() == create()
    assert len(gateway.sandbox.calls) == 1
