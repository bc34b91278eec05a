"""A client is told what it was charged: in headers of JSON answers, in `usage.cost` where it asks for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from gateway_project.lib import clock
from gateway_project.sandbox.faults import PREFIX
from routing.models import Provider
from tenants.models import UsageRow
from tenants.prices import rerating
from tests.responses_api.accounting.conftest import DOLLAR, Rows, budget, offer
from tests.support import rows
from tests.support.client import client_of
from tests.support.live import LiveGateway
from tests.support.patience import until
from tests.support.rows import Customer
from tests.support.sockets import opened

Json = dict[str, Any]
Post = Callable[..., httpx.Response]
DOORS = ("chat", "responses")
CHARGE, VERSION = "x-tollgate-charge-nano", "x-tollgate-price-version"
ASKED = {"usage": {"include": True}}
LONG = "All work and no play makes Jack a dull boy. " * 200
SUMMARISED = {"context_management": [{"type": "compaction", "compact_threshold": 1000}]}


def exact(text: str | bytes) -> Any:
    """JSON whose decimals are taken as they are written."""
    return json.loads(text, parse_float=Decimal)


def reports(stream: str) -> Iterator[Json]:
    """Every `usage` in a stream's events that is one."""
    for line in stream.splitlines():
        if line.startswith("data: {"):
            event = exact(line[6:])
            if found := event.get("response", event).get("usage"):
                yield found


def reported(answer: httpx.Response) -> Json:
    """The `usage` of an answer, of which a stream tells once."""
    if answer.headers["content-type"] == "application/json":
        usage: Json = exact(answer.content)["usage"]
        return usage
    (usage,) = reports(answer.text)
    return usage


def dollars(charged: list[UsageRow]) -> Decimal:
    return Decimal(sum(row.charge_nano for row in charged)) / DOLLAR


def compact(gateway: LiveGateway, buyer: Customer, model: str, **body: Any) -> httpx.Response:
    offer(model)
    url, asked = f"{gateway.base_url}/responses/compact", {"model": model, "input": LONG, **body}
    return httpx.post(url, json=asked, headers=buyer.headers)


def test_every_json_answer_tells_what_its_row_says(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer
) -> None:
    answers = [post(door, f"good-{p}") for door in DOORS for p in rows.PROTOCOLS]
    answers += [compact(gateway, buyer, f"good-{protocol}") for protocol in rows.PROTOCOLS]
    told = [(answer.headers[CHARGE], answer.headers[VERSION]) for answer in answers]
    assert told == [(str(row.charge_nano), str(row.charge_version)) for row in booked()]
    assert all(int(charge) > 0 for charge, _ in told)
    assert not any("cost" in reported(answer) for answer in answers)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_who_asks_finds_the_exact_charge_in_the_usage(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer, stream: bool
) -> None:
    cells = [(door, protocol) for door in DOORS for protocol in rows.PROTOCOLS]
    answers = [post(door, f"good-{p}", "[chunks=7]", stream=stream, **ASKED) for door, p in cells]
    if not stream:
        answers += [compact(gateway, buyer, f"good-{p}", **ASKED) for p in rows.PROTOCOLS]
    for answer, row in zip(answers, booked(), strict=True):
        usage = reported(answer)
        assert usage["cost"] == dollars([row]) > 0, row
        assert usage["total_tokens"] == sum(row.tokens), row
        assert "cost_details" not in usage
    assert all("usage" not in call.body for call in gateway.sandbox.calls)
    if stream:
        assert all(CHARGE not in answer.headers for answer in answers)


@pytest.mark.parametrize("fault", ["no-usage", "usage-twice"])
def test_it_is_told_whatever_the_upstream_reports(post: Post, booked: Rows, fault: str) -> None:
    cells = [(door, protocol) for door in DOORS for protocol in rows.PROTOCOLS]
    answers = [
        (door, post(door, f"{fault}-{protocol}", stream=stream, **ASKED))
        for door, protocol in cells
        for stream in (False, True)
    ]
    for (door, answer), row in zip(answers, booked(), strict=True):
        is_stream = row.streamed
        *_, usage = reports(answer.text) if is_stream else [reported(answer)]
        assert usage["cost"] == dollars([row]) > 0, (door, row)
        assert not is_stream or "[DONE]" in answer.text


def test_the_operator_may_have_it_told_to_all_but_those_who_do_not_want_it(
    gateway: LiveGateway, post: Post, booked: Rows
) -> None:
    gateway.change(tells_cost=True)
    for door in DOORS:
        asked, unasked = post(door, "good-chat"), post(door, "good-chat", usage={"include": False})
        assert reported(asked)["cost"] == dollars(booked()[-2:-1])
        assert "cost" not in reported(unasked)
    # Whether a chat stream has a usage at all is still its client's to say.
    assert list(reports(post("chat", "good-chat", stream=True).text)) == []


def test_what_has_no_price_tells_none(post: Post, booked: Rows) -> None:
    for protocol in rows.PROTOCOLS:
        provider = Provider.objects.get(name=f"sandbox-{protocol}")
        rows.alias(f"unpriced-{protocol}", (provider, "new-model"))
        for door in DOORS:
            answer = post(door, f"unpriced-{protocol}", **ASKED)
            assert answer.status_code == 200
            assert not {CHARGE, VERSION} & set(answer.headers)
            assert "cost" not in reported(answer)
    assert {row.charge_version for row in booked()} == {None}


def test_what_a_budget_did_not_hold_is_not_told_as_charged(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer
) -> None:
    budget(buyer, 3_000_000)
    gateway.call(gateway.worker.forget)
    answer = post("responses", "good-responses", "[unlimited][chunks=2000]", **ASKED)
    (row,) = booked()
    assert row.unfunded_nano > 0
    assert answer.headers[CHARGE] == str(row.charge_nano)
    assert reported(answer)["cost"] == dollars([row])


@pytest.mark.parametrize("door", DOORS)
def test_a_stream_its_budget_ends_tells_what_was_charged(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer, door: str
) -> None:
    for protocol in rows.PROTOCOLS:
        budget(buyer, 20_000_000)
        gateway.call(gateway.worker.forget)
        answer = post(door, f"never-ending-{protocol}", stream=True, **ASKED)
        row = booked()[-1]
        assert row.status == "incomplete"
        assert reported(answer)["cost"] == dollars([row]) > 0
        assert answer.text.endswith("data: [DONE]\n\n")
        buyer.tenant.budgets.all().delete()


def test_a_failed_call_tells_that_it_cost_nothing(post: Post, booked: Rows) -> None:
    answer = post("responses", "500-chat")
    assert (answer.status_code, answer.headers[CHARGE]) == (502, "0")
    (row,) = booked()
    assert row.charge_nano == 0


@pytest.mark.parametrize("store", [False, True])
def test_a_replayed_answer_says_what_it_said_then(
    gateway: LiveGateway, buyer: Customer, booked: Rows, store: bool
) -> None:
    offer("good-chat")
    body = {"model": "good-chat", "input": "Hi", "store": store, **ASKED}
    headers = {**buyer.headers, "idempotency-key": "k"}
    first, again = (
        httpx.post(f"{gateway.base_url}/responses", json=body, headers=headers) for _ in range(2)
    )
    (row,) = booked()
    assert again.headers["idempotent-replayed"] == "true"
    assert again.content == first.content
    for answer in (first, again):
        told = answer.headers[CHARGE], answer.headers[VERSION]
        assert told == (str(row.charge_nano), str(row.charge_version))


def test_what_is_stored_says_what_the_answer_said(
    gateway: LiveGateway, post: Post, buyer: Customer, booked: Rows
) -> None:
    def read(path: str) -> Any:
        answer = httpx.get(f"{gateway.base_url}/{path}", headers=buyer.headers)
        return exact(answer.content)

    for protocol in rows.PROTOCOLS:
        model = f"good-{protocol}"
        for stream in (False, True):
            answer = post("responses", model, stream=stream, store=True, **ASKED)
            stored = read(f"responses/{id_in(answer)}")
            assert stored["usage"] == reported(answer)
            answer = post("chat", model, stream=stream, store=True, **ASKED)
            gateway.idle()
            stored = read(f"chat/completions/{id_in(answer)}")
            assert stored["usage"]["cost"] == reported(answer)["cost"] > 0
    assert len(booked()) == 12


def id_in(answer: httpx.Response) -> str:
    text = answer.text if answer.text.startswith("{") else answer.text.partition("data: ")[2]
    found = json.loads(text.splitlines()[0])
    identity: str = found.get("response", found)["id"]
    return identity


def test_a_background_response_tells_once_it_is_made(
    gateway: LiveGateway, post: Post, buyer: Customer, booked: Rows
) -> None:
    queued = post("responses", "good-chat", background=True, **ASKED)
    assert CHARGE not in queued.headers
    assert queued.json()["usage"] is None
    until(lambda: bool(booked()))
    (row,) = booked()
    url = f"{gateway.base_url}/responses/{queued.json()['id']}"
    made = exact(httpx.get(url, headers=buyer.headers).content)
    assert (made["status"], made["usage"]["cost"]) == ("completed", dollars([row]))


def test_a_turn_of_a_websocket_tells_in_its_last_event(
    gateway: LiveGateway, buyer: Customer, booked: Rows
) -> None:
    with opened(gateway, buyer.headers) as socket:
        for protocol in rows.PROTOCOLS:
            offer(f"good-{protocol}")
            response = socket.turn(f"good-{protocol}", **ASKED)
            told = Decimal(repr(response["usage"]["cost"]))
            assert told == dollars(booked()[-1:]) > 0


def test_a_wish_that_is_none_is_refused(post: Post) -> None:
    for door in DOORS:
        for usage in (True, {"include": "yes"}):
            answer = post(door, "good-chat", usage=usage)
            assert answer.status_code == 400
            assert answer.json()["error"]["param"].startswith("usage")


# Several calls under one request


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_a_summary_is_in_the_usage_and_in_the_charge(
    gateway: LiveGateway, buyer: Customer, post: Post, booked: Rows, stream: bool
) -> None:
    for protocol in ("chat", "anthropic"):
        model = f"good-{protocol}"
        before = len(booked())
        plain = post("responses", model, LONG, stream=stream, **SUMMARISED)
        told = post("responses", model, LONG, stream=stream, **SUMMARISED, **ASKED)
        made = booked()[before:]
        assert [row.route for row in made] == ["summary", "responses"] * 2
        for answer, legs in ((plain, made[:2]), (told, made[2:])):
            usage = reported(answer)
            assert usage["total_tokens"] == sum(sum(row.tokens) for row in legs)
            if not stream:
                assert answer.headers[CHARGE] == str(sum(row.charge_nano for row in legs))
        assert "cost" not in reported(plain)
        assert reported(told)["cost"] == dollars(made[2:])
    every = booked()
    with client_of(gateway, buyer) as client:
        sums = client.get("/usage", params={"group_by": "alias"}).json()["data"]
    assert [(one["requests"], one["calls"]) for one in sums] == [(2, 4)] * 2
    assert sum(one["charge_nano"] for one in sums) == sum(row.charge_nano for row in every)
    around = timedelta(hours=1)
    assert not list(rerating.differences(clock.now() - around, clock.now() + around))


def test_an_attempt_nobody_pays_for_is_in_neither(post: Post, booked: Rows) -> None:
    offer("good-responses")
    chat, responses = (Provider.objects.get(name=f"sandbox-{p}") for p in ("chat", "responses"))
    rows.alias("first-fails", (chat, PREFIX + "500"), (responses, "good"))
    answer = post("responses", "first-fails", **ASKED)
    failed, made = booked()
    assert (failed.status, failed.charge_nano) == ("failed", 0)
    assert reported(answer)["total_tokens"] == sum(made.tokens)
    assert answer.headers[CHARGE] == str(made.charge_nano)
    assert reported(answer)["cost"] == dollars([made])


def test_an_error_tells_what_was_charged_before_it(post: Post, booked: Rows) -> None:
    """The upstream resets the connection of the summary when the call for the answer arrives on it."""
    answer = post("responses", "reset-keepalive-chat", LONG, **SUMMARISED)
    summary, failed = booked()
    assert (answer.status_code, failed.charge_nano) == (502, 0)
    assert answer.headers[CHARGE] == str(summary.charge_nano) != "0"
