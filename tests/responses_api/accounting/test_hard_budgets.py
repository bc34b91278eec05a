"""An upstream that keeps to its limits never costs more than a hard budget. The truth
is the sandbox's own record of the tokens it generated, whether anybody read them or not."""

from __future__ import annotations

import asyncio
import random
import select
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpx
import pytest

from responses_api.accounting import asked_call
from routing.models import Provider, ProviderModel
from tenants.models import BudgetWindow
from tests.plugins.tiers import by_tier, sampled
from tests.responses_api.accounting.conftest import (
    DOLLAR,
    INPUT_PICO,
    OUTPUT_PICO,
    Rows,
    budget,
    offer,
)
from tests.support import rows, sockets
from tests.support.client import async_client_of, said
from tests.support.live import LiveGateway
from tests.support.patience import GIVE_UP_SECONDS, until
from tests.support.rows import Customer
from tests.support.wire import Wire, request

pytestmark = pytest.mark.persistence

Json = dict[str, Any]
CENT = DOLLAR // 100
DOORS = ("chat", "responses")
CALLERS = 64
RANDOM_CALLERS = by_tier(default=24, ci=32, proof=64)
SHORT_CALLS = by_tier(default=36, ci=36, proof=100)
FINISHED = {"completed", "incomplete", "failed", "cancelled"}


def upstream_cost(gateway: LiveGateway) -> int:
    """Nano-dollars of all that the sandbox generated."""
    made = [call.generated for call in gateway.sandbox.calls]
    tokens_in, tokens_out = (sum(each) for each in zip(*made, strict=True))
    return int(tokens_in * INPUT_PICO + tokens_out * OUTPUT_PICO) // 1000


def body(door: str, protocol: str, text: str, **fields: Any) -> Json:
    limit = fields.pop("limit", None)
    name = "max_completion_tokens" if door == "chat" else "max_output_tokens"
    if limit is not None:
        fields[name] = limit
    return {"model": f"good-{protocol}", **said(door, text), **fields}


async def ask(client: httpx.AsyncClient, asked: Json) -> httpx.Response:
    path = "chat/completions" if "messages" in asked else "responses"
    answer = await client.post(path, json=asked)
    if asked.get("background") and answer.status_code == 200:
        known = answer.json()
        while known["status"] not in FINISHED:
            await asyncio.sleep(0.01)
            known = (await client.get(f"responses/{known['id']}")).json()
    return answer


def ask_all(
    gateway: LiveGateway,
    of: Customer,
    asked: Iterable[Json],
    *more: Callable[[], Awaitable[Any]],
) -> list[httpx.Response]:
    """Ask all at once."""

    async def all_of_them() -> list[httpx.Response]:
        async with async_client_of(gateway, of) as client:
            work = (ask(client, one) for one in asked)
            found = await asyncio.gather(*work, *(begin() for begin in more))
            return found[: len(found) - len(more)]

    return asyncio.run(all_of_them())


@pytest.fixture
def offered(gateway: LiveGateway, buyer: Customer) -> Customer:
    for protocol in rows.PROTOCOLS:
        offer(f"good-{protocol}")
    return buyer


def begin(gateway: LiveGateway, of: Customer, amount_nano: int) -> None:
    budget(of, amount_nano)
    gateway.call(gateway.worker.forget)


def test_many_choices_cost_no_more_than_the_budget(
    gateway: LiveGateway, booked: Rows, offered: Customer
) -> None:
    begin(gateway, offered, DOLLAR)
    text = "[chunks=900]"  # 30 x 128 x 900 tokens are $34.56
    answers = [ask_all(gateway, offered, [body("chat", "chat", text, n=128)])[0] for _ in range(30)]
    assert upstream_cost(gateway) <= DOLLAR
    assert answers[0].status_code == 200
    assert len(answers[0].json()["choices"]) == 128
    assert sum(row.charge_nano for row in booked()) > 0.9 * DOLLAR
    assert {row.unfunded_nano for row in booked()} == {0}


def is_answered(wire: Wire) -> bool:
    return bool(select.select([wire.socket], [], [], 0)[0])


def test_calls_that_are_left_one_after_the_other_cost_no_more_than_the_budget(
    gateway: LiveGateway, booked: Rows, offered: Customer
) -> None:
    """The upstream goes on writing when nobody listens any more."""
    begin(gateway, offered, 10 * CENT)
    text = "[wait=60000] [chunks=2200]"
    for number in range(40):
        door, protocol = DOORS[number % 2], rows.PROTOCOLS[number % 3]
        seen = len(gateway.sandbox.calls)
        with Wire(gateway.root_url) as wire:
            wire.send(request(door, offered, body(door, protocol, text, limit=3000)))
            until(lambda: len(gateway.sandbox.calls) > seen or is_answered(wire))  # noqa: B023
            refused = is_answered(wire)
        if refused:
            break
    assert refused, "the budget never ended"
    assert 0 < upstream_cost(gateway) <= 10 * CENT
    found = booked()
    assert {row.status for row in found} == {"client_gone"}
    assert sum(row.charge_nano for row in found) < CENT  # who left is charged the input alone


def test_streams_that_are_left_cost_no_more_than_the_budget_where_the_provider_runs_on(
    gateway: LiveGateway, booked: Rows, offered: Customer
) -> None:
    """An upstream that bills to the end costs more than what was seen."""
    Provider.objects.update(quirks={"runs_on": True})
    begin(gateway, offered, 10 * CENT)
    for number in range(40):
        door, protocol = DOORS[number % 2], rows.PROTOCOLS[number % 3]
        asked = body(door, protocol, "[pace=50] [chunks=2200]", limit=3000, stream=True)
        with Wire(gateway.root_url) as wire:
            wire.send(request(door, offered, asked))
            wire.wait_for(b"\r\n\r\n")
            refused = not wire.received.startswith(b"HTTP/1.1 200")
            if not refused:
                wire.wait_for(b"delta")
        if refused:
            break
    assert refused, "the budget never ended"
    assert 0 < upstream_cost(gateway) <= 10 * CENT
    found = booked()
    assert {row.status for row in found} == {"client_gone"}
    assert sum(row.charge_nano for row in found) < CENT  # who left is charged what was seen
    assert BudgetWindow.objects.get().spent_nano > 5 * CENT


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_calls_at_once_cost_no_more_than_the_budget(
    gateway: LiveGateway, booked: Rows, offered: Customer, stream: bool
) -> None:
    begin(gateway, offered, 10 * CENT)
    text = "[chunks=2200]"  # 64 calls are $1.40
    kinds = [(door, protocol) for door in DOORS for protocol in rows.PROTOCOLS]
    asked = [body(*kinds[number % 6], text, limit=6000, stream=stream) for number in range(CALLERS)]
    answers = ask_all(gateway, offered, asked)
    assert {answer.status_code for answer in answers} == {200, 429}
    assert upstream_cost(gateway) <= 10 * CENT
    assert sum(row.charge_nano for row in booked()) > 8 * CENT


def random_call(chance: random.Random) -> Json:
    protocol = chance.choice(rows.PROTOCOLS)
    door = chance.choice(DOORS)
    text = f"[chunks={chance.choice((1, 20, 700, 5000))}]"
    if chance.random() < 0.4:
        text += f"[think={chance.choice((10, 900, 9000))}]"
    fields: Json = {"stream": chance.random() < 0.5}
    if chance.random() < 0.5:
        fields["limit"] = chance.choice((16, 200, 6000, 100_000))
    if door == "chat" and protocol == "chat" and chance.random() < 0.6:
        fields["n"] = chance.choice((1, 2, 16, 128))
    if door == "responses" and chance.random() < 0.3:
        fields |= {"background": True, "stream": False}
    return body(door, protocol, text, **fields)


@pytest.mark.parametrize("seed", sampled(range(3), default=1, ci=1))
def test_whatever_is_asked_at_once_the_upstream_costs_no_more_than_the_budget(
    gateway: LiveGateway, booked: Rows, offered: Customer, seed: int
) -> None:
    chance = random.Random(seed)
    amount = chance.choice((2, 20, 200)) * CENT
    begin(gateway, offered, amount)

    def turns() -> None:
        with sockets.opened(gateway, offered.headers) as socket:
            for _ in range(4):
                socket.create("good-responses", input="[chunks=700][think=300]")
                socket.events()

    asked = [random_call(chance) for _ in range(RANDOM_CALLERS)]
    beside = [lambda: asyncio.to_thread(turns) for _ in range(4)]
    answers = ask_all(gateway, offered, asked, *beside)
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) <= {200, 429}, statuses
    assert upstream_cost(gateway) <= amount
    spent = sum(row.charge_nano for row in booked())
    window = BudgetWindow.objects.get()
    assert window.spent_nano == spent <= amount
    assert {row.unfunded_nano for row in booked()} == {0}


@pytest.mark.long
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_short_calls_without_a_limit_are_all_answered_where_the_budget_pays_for_them(
    gateway: LiveGateway, booked: Rows, offered: Customer, stream: bool
) -> None:
    kinds = [(door, protocol) for door in DOORS for protocol in rows.PROTOCOLS]
    begin(gateway, offered, DOLLAR)
    for kind in kinds:
        ask_all(gateway, offered, [body(*kind, "Say something short.")])
    dearest = max(row.charge_nano for row in booked())
    BudgetWindow.objects.all().delete()
    offered.tenant.budgets.update(amount_nano=200 * dearest)
    gateway.call(gateway.worker.forget)
    asked = [
        body(*kinds[number % 6], "Say something short.", stream=stream)
        for number in range(SHORT_CALLS)
    ]
    answers = ask_all(gateway, offered, asked)
    assert Counter(answer.status_code for answer in answers) == {200: SHORT_CALLS}
    assert {row.status for row in booked()} == {"completed"}


def test_a_small_rest_is_shared_in_turn_rather_than_refused(
    gateway: LiveGateway, offered: Customer
) -> None:
    """Two calls that each may write all that is left: the second waits until the first gives back."""
    begin(gateway, offered, CENT)
    asked = [body("responses", "chat", f"[wait={wait}] Hi", limit=5000) for wait in (300, 1)]
    answers = ask_all(gateway, offered, asked)
    assert [answer.json()["status"] for answer in answers] == ["completed", "completed"]


def test_a_summary_is_limited_as_its_answer_is(gateway: LiveGateway, offered: Customer) -> None:
    begin(gateway, offered, 2 * CENT)
    told = [{"role": "user", "content": "[chunks=5000] Tell me."}]
    for protocol in rows.PROTOCOLS:
        httpx.post(
            f"{gateway.base_url}/responses/compact",
            json={"model": f"good-{protocol}", "input": told},
            headers=offered.headers,
            timeout=GIVE_UP_SECONDS,
        )
    assert upstream_cost(gateway) <= 2 * CENT


def test_every_name_of_a_limit_is_lowered(gateway: LiveGateway, offered: Customer) -> None:
    begin(gateway, offered, CENT)
    asked = body("chat", "chat", "[chunks=3000]", limit=20_000, max_tokens=50_000)
    (answer,) = ask_all(gateway, offered, [asked])
    assert answer.json()["choices"][0]["finish_reason"] == "length"
    (call,) = gateway.sandbox.calls
    sent = (call.body["max_completion_tokens"], call.body["max_tokens"])
    assert sent[0] == sent[1] < 1_000


def test_more_choices_than_may_be_asked_for_are_refused_by_name(
    gateway: LiveGateway, offered: Customer
) -> None:
    (answer,) = ask_all(gateway, offered, [body("chat", "chat", "Hi", n=129)])
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "n")
    assert "128" in error["message"]
    assert not gateway.sandbox.calls


def test_a_model_with_a_limit_of_its_own_is_told_it(
    gateway: LiveGateway, offered: Customer
) -> None:
    """The hold is made by the limit in the model's row; a model that is not told of it could write more."""
    ProviderModel.objects.filter(provider__name="sandbox-chat").update(max_output_tokens=50)
    begin(gateway, offered, DOLLAR)
    ask_all(gateway, offered, [body("chat", "chat", "[chunks=900]")])
    (call,) = gateway.sandbox.calls
    assert call.body["max_completion_tokens"] == 50
    assert call.generated[1] == 50


def test_a_budget_with_plenty_changes_nothing_that_is_sent(
    gateway: LiveGateway, offered: Customer
) -> None:
    begin(gateway, offered, 100 * DOLLAR)
    ask_all(gateway, offered, [body("chat", "chat", "Hi"), body("chat", "chat", "Hi", limit=9000)])
    limits = {call.body.get("max_completion_tokens") for call in gateway.sandbox.calls}
    assert limits == {None, 9000}
    assert 8 * asked_call.LONGEST_ANSWER * OUTPUT_PICO // 1000 < 100 * DOLLAR
