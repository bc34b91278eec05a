"""Every door keeps one contract over every protocol: answers, faults, ends and rows in the ledger.

Nothing here knows a door or a protocol but by what `speakers` says of its clients; the toy passes unchanged.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import httpx
import orjson
import pytest

from gateway_project.sandbox.log import LoggedCall
from responses_api.doors.registry import BRIDGES, DOORS
from routing import model_sync, probe
from routing.models import Provider
from routing.protocols import PROTOCOLS
from tenants.models import Budget
from tests.responses_api.accounting.conftest import DOLLAR, price
from tests.responses_api.doors import toy
from tests.responses_api.doors.conftest import Rows, offer
from tests.responses_api.doors.speakers import SPEAKERS
from tests.support import wire
from tests.support.client import client_of, events_in
from tests.support.live import LiveGateway
from tests.support.patience import until
from tests.support.rows import Customer
from tests.support.wire import Wire

GENERATING = [*(name for name, door in DOORS.items() if door.generates), toy.NAME]
STREAMING = [*(name for name, door in DOORS.items() if door.failure_marker), toy.NAME]

each_door = pytest.mark.parametrize("door", GENERATING)
each_stream = pytest.mark.parametrize("door", STREAMING)


def test_every_door_that_asks_a_model_has_a_speaker_and_bridges_to_every_protocol() -> None:
    assert SPEAKERS.keys() == set(GENERATING)
    assert BRIDGES.keys() == {(door, protocol) for door in GENERATING for protocol in PROTOCOLS}


def body(door: str, model: str, text: str = "Hi", *, stream: bool = False) -> dict[str, Any]:
    return {"model": model, "stream": stream, **SPEAKERS[door].ask(text)}


def ask(
    gateway: LiveGateway,
    customer: Customer,
    door: str,
    model: str,
    *,
    stream: bool = False,
    **headers: str,
) -> httpx.Response:
    """The answer, as far as it came."""
    with client_of(gateway, customer, **headers) as client:
        return client.post(f"/{DOORS[door].path}", json=body(door, model, stream=stream))


@each_door
def test_a_whole_answer_is_told_metered_and_booked(
    gateway: LiveGateway, customer: Customer, booked: Rows, door: str
) -> None:
    told = {}
    for protocol in PROTOCOLS:
        answer = ask(gateway, customer, door, offer(protocol))
        assert answer.status_code == 200, (protocol, answer.text)
        told[protocol] = SPEAKERS[door].read(answer.json())
        sent = gateway.sandbox.calls[-1]
        assert sent.path == "/v1" + BRIDGES[door, protocol].path, protocol
        assert PROTOCOLS[protocol].headers.items() <= sent.headers.items(), protocol
    for protocol, row in zip(told, booked(), strict=True):
        said, asked, made = told[protocol]
        assert said, protocol
        assert (row.route, row.provider) == (door, f"sandbox-{protocol}")
        assert (row.status, row.usage_source) == ("completed", "provider"), protocol
        assert (row.input_fresh, row.output_visible) == (asked, made), protocol


@each_stream
def test_a_stream_says_what_the_whole_answer_says(
    gateway: LiveGateway, customer: Customer, booked: Rows, door: str
) -> None:
    speaker, told = SPEAKERS[door], {}
    for protocol in PROTOCOLS:
        model = offer(protocol)
        whole = speaker.read(ask(gateway, customer, door, model).json())
        stream = ask(gateway, customer, door, model, stream=True)
        found = events_in(stream.content)
        told[protocol] = speaker.read_stream(found)
        assert told[protocol] == whole, protocol
        assert not speaker.has_failed(found), protocol
        assert DOORS[door].failure_marker not in stream.content, protocol
    for protocol, row in zip(told, booked()[1::2], strict=True):
        assert row.streamed, protocol
        assert (row.status, row.usage_source) == ("completed", "provider"), protocol
        assert (row.input_fresh, row.output_visible) == told[protocol][1:], protocol


@each_door
def test_a_refusal_of_the_provider_is_told_in_the_doors_own_words(
    gateway: LiveGateway, customer: Customer, booked: Rows, door: str
) -> None:
    for protocol in PROTOCOLS:
        for stream in (False, door in STREAMING):
            answer = ask(gateway, customer, door, offer(protocol, "429"), stream=stream)
            assert answer.status_code == 429, protocol
            assert "limits the rate" in SPEAKERS[door].error(answer.json()), protocol
    for row in booked():
        assert (row.status, row.error_code) == ("failed", "rate_limit_exceeded")
        assert (row.usage_source, row.charge_nano) == ("none", 0)


@each_door
def test_a_refusal_of_ours_is_told_in_the_doors_own_words(
    gateway: LiveGateway, customer: Customer, door: str
) -> None:
    answer = ask(gateway, customer, door, "nonsense")
    assert answer.status_code == 404
    assert "nonsense" in SPEAKERS[door].error(answer.json())


@each_stream
@pytest.mark.parametrize("fault", ["cut", "error-mid", "clean-eof"])
def test_a_stream_that_breaks_off_never_looks_complete(
    gateway: LiveGateway, customer: Customer, booked: Rows, door: str, fault: str
) -> None:
    for protocol in PROTOCOLS:
        answer = stream_of(gateway, customer, door, offer(protocol, fault))
        assert answer.status == 200, protocol
        assert answer.is_whole is DOORS[door].ends_whole, protocol
        assert SPEAKERS[door].has_failed(events_in(answer.body)), protocol
        assert b"\n" + DOORS[door].failure_marker in answer.body, protocol
    for row in booked():
        assert (row.status, row.usage_source) == ("failed", "counted")
        assert row.input_fresh > 0


@each_stream
def test_a_client_that_leaves_closes_its_upstream_and_pays_for_what_it_saw(
    gateway: LiveGateway, customer: Customer, booked: Rows, door: str
) -> None:
    for protocol in PROTOCOLS:
        client = Wire(gateway.root_url)
        client.send(request(door, customer, offer(protocol, "never-ending")))
        client.wait_for(SPEAKERS[door].output)
        call = gateway.sandbox.calls[-1]
        client.socket.close()
        until(partial(has_ended, call))
        assert call.ended == "client_closed", protocol
    for row in booked():
        assert (row.status, row.usage_source) == ("client_gone", "counted")
        assert row.output_visible > 0


@each_door
def test_budgets_limit_what_the_upstream_may_write(
    gateway: LiveGateway, customer: Customer, door: str
) -> None:
    Budget.objects.create(
        tenant=customer.tenant, name="test", amount_nano=DOLLAR // 10, period="total"
    )
    for protocol in PROTOCOLS:
        model = offer(protocol)
        price(f"sandbox-{protocol}", "good")
        answer = ask(gateway, customer, door, model)
        assert answer.status_code == 200, (protocol, answer.text)
        limit = PROTOCOLS[protocol].output_limit(gateway.sandbox.calls[-1].body)
        assert (limit is not None) is BRIDGES[door, protocol].can_limit, protocol


@each_door
def test_one_key_makes_one_call_upstream(
    gateway: LiveGateway, customer: Customer, door: str
) -> None:
    for protocol in PROTOCOLS:
        before = len(gateway.sandbox.calls)
        for stream in (False, door in STREAMING):
            named = {"idempotency-key": f"{protocol}-{stream}"}
            first, again = (
                ask(gateway, customer, door, offer(protocol), stream=stream, **named)
                for _ in range(2)
            )
            assert first.status_code == 200, protocol
            assert again.content == first.content, protocol
            assert again.headers["idempotent-replayed"] == "true", protocol
        assert len(gateway.sandbox.calls) - before == (2 if door in STREAMING else 1), protocol


@pytest.mark.usefixtures("customer")
def test_every_protocol_can_be_checked_and_lists_its_models() -> None:
    for protocol in PROTOCOLS:
        [found] = probe.check(offer(protocol), None)
        assert (found.ok, found.protocol) == (True, protocol), found
        assert model_sync.sync(Provider.objects.get(name=f"sandbox-{protocol}")).added, protocol


def test_a_field_that_a_protocol_lacks_is_named_as_its_client_wrote_it(
    gateway: LiveGateway, customer: Customer
) -> None:
    url = f"{gateway.base_url}/{toy.DOOR.path}"
    asked = {"model": offer("chat"), "lines": ["Hi"], "nonsense": 1}
    answer = httpx.post(url, json=asked, headers=customer.headers)
    assert answer.status_code == 400
    assert "'nonsense'" in SPEAKERS[toy.NAME].error(answer.json())
    url = f"{gateway.base_url}/chat/completions"
    asked = {**body("chat", offer(toy.NAME)), "temperature": 0.5}
    answer = httpx.post(url, json=asked, headers=customer.headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "temperature"


def has_ended(call: LoggedCall) -> bool:
    return call.ended is not None


def request(door: str, customer: Customer, model: str) -> bytes:
    content = orjson.dumps(body(door, model, stream=True))
    head = [
        f"POST /v1/{DOORS[door].path} HTTP/1.1",
        "host: gateway",
        f"authorization: Bearer {customer.secret}",
        "content-type: application/json",
        f"content-length: {len(content)}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + content


def stream_of(gateway: LiveGateway, customer: Customer, door: str, model: str) -> wire.Answer:
    with Wire(gateway.root_url) as client:
        client.send(request(door, customer, model))
        return client.answer()
