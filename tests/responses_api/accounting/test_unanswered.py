"""The charge for a call of which nothing came, or not all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import httpx
import orjson
import pytest

from gateway_project.sandbox.reply import Scripted
from routing.upstream.transport import Transport
from tenants.models import BudgetWindow
from tests.responses_api.accounting.conftest import DOLLAR, INPUT_PICO, Rows, budget, offer
from tests.responses_api.accounting.test_estimates import png, url_part
from tests.support import rows
from tests.support.live import LiveGateway
from tests.support.patience import GIVE_UP_SECONDS, until
from tests.support.rows import Customer
from tests.support.wire import Wire, request

pytestmark = pytest.mark.persistence

CHARGE = "x-tollgate-charge-nano"
SUMMARISED = {"context_management": [{"type": "compaction", "compact_threshold": 1000}]}
Post = Callable[..., httpx.Response]
PHOTO = url_part(png(2000, 1500, 3_000_000))


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_what_may_have_run_is_not_charged_but_its_cost_is_booked_and_its_budget_pays(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer, stream: bool
) -> None:
    budget(buyer, DOLLAR)
    faults = ["silence"] if stream else ["silence", "bad-json-body"]
    kinds = [(fault, protocol) for fault in faults for protocol in rows.PROTOCOLS]
    for fault, protocol in kinds:
        gateway.call(gateway.worker.forget)
        with gateway.time_runs_out() if fault == "silence" else nullcontext():
            answer = post("responses", f"{fault}-{protocol}", "x" * 400, stream=stream)
        assert answer.status_code >= 500, (fault, protocol)
    found = booked()
    assert len(found) == len(kinds)
    for row in found:
        assert (row.status, row.charge_nano) == ("failed", 0)
        assert row.input_fresh > 100
        assert row.cost_nano == row.unfunded_nano == row.input_fresh * INPUT_PICO // 1000
    spent, cost = BudgetWindow.objects.get().spent_nano, sum(row.cost_nano for row in found)
    # Of an answer that is not streamed nobody knows how much of it was written: all that was held is spent.
    assert spent == cost if stream else spent > cost


def test_a_hard_budget_bounds_how_often_a_call_may_come_to_nothing(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer
) -> None:
    budget(buyer, 1_000_000)  # 1,000 tokens of input
    statuses = []
    for _ in range(9):
        gateway.call(gateway.worker.forget)
        with gateway.time_runs_out():
            statuses.append(post("responses", "silence-chat", "x" * 500).status_code)
    assert statuses[0] == 504
    assert statuses[-1] == 429
    assert sum(row.cost_nano for row in booked()) <= 1_000_000


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_what_never_ran_costs_nothing(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer, stream: bool
) -> None:
    refused = rows.provider("chat", gateway.sandbox.fault_urls["connect-refused"], name="away")
    rows.alias("away", (refused, "good"))
    for model in ("html-chat", "html-responses", "502-anthropic", "500-chat", "away"):
        assert post("chat", model, stream=stream).status_code >= 500
    found = booked()
    assert [(row.cost_nano, row.charge_nano, row.unfunded_nano) for row in found] == [(0, 0, 0)] * 9
    assert {row.usage_source for row in found} == {"none"}


def without_connections() -> Transport:
    return Transport(connect_seconds=5, pool_wait_seconds=GIVE_UP_SECONDS, max_connections=0)


def test_what_was_never_sent_costs_nothing_whoever_ended_it(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call still waited for a connection when its client left or its time ran out."""
    budget(buyer, DOLLAR)
    offer("good-chat")
    gateway.call(gateway.worker.forget)
    gateway.change(transport=gateway.call(without_connections))
    transport = gateway.worker.services.transport
    asked = {"model": "good-chat", "input": "x" * 400}
    for stream in (False, True):
        with Wire(gateway.root_url) as wire:
            wire.send(request("responses", buyer, {**asked, "stream": stream}))
            until(lambda: transport.waiting_calls == 1)
        gateway.idle()
    gateway.limit(total=2.0)  # long enough to be in the ledger
    assert post("responses", "good-chat").status_code == 504
    found = booked()
    assert [row.status for row in found] == ["client_gone", "client_gone", "failed"]
    for row in found:
        assert (row.charge_nano, row.cost_nano, row.usage_source) == (0, 0, "none")
    assert not gateway.sandbox.calls
    assert sum(BudgetWindow.objects.values_list("spent_nano", flat=True)) == 0


def test_a_client_that_leaves_pays_its_input_by_a_fair_estimate_whatever_came(
    gateway: LiveGateway, booked: Rows, buyer: Customer
) -> None:
    """A photo of 3 MB, which was taken for a million tokens."""
    budget(buyer, 5 * DOLLAR)
    offer("good-chat")
    gateway.call(gateway.worker.forget)
    for stream in (False, True):
        content = [{"type": "text", "text": "[wait=60000]"}, PHOTO]
        asked = {
            "model": "good-chat",
            "stream": stream,
            "messages": [{"role": "user", "content": content}],
        }
        seen = len(gateway.sandbox.calls)
        with Wire(gateway.root_url) as wire:
            wire.send(request("chat", buyer, asked))
            until(lambda: len(gateway.sandbox.calls) > seen)  # noqa: B023
    found = booked()
    assert [row.status for row in found] == ["client_gone", "client_gone"]
    for row in found:
        assert 700 < row.input_fresh < 1_000
        assert row.charge_nano == row.input_fresh * INPUT_PICO // 1000


SAID = "All work and no play makes Jack a dull boy. " * 20
TOO_DEEP = "[" * 300 + "]" * 300
REPORT = {"usage": {"prompt_tokens": 900, "completion_tokens": 200, "total_tokens": 1100}}


def completion(reason: str | None, **beside: Any) -> bytes:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": SAID},
        "finish_reason": reason,
    }
    return orjson.dumps({"id": "c", "object": "chat.completion", "choices": [choice], **beside})


def deep(answer: bytes) -> bytes:
    """Return a body whose JSON can be read, but not written again."""
    return answer[:-1] + f',"more":{TOO_DEEP}}}'.encode()


MESSAGE = orjson.dumps(
    {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": SAID}],
        "stop_reason": None,
    }
)
OUTPUT = {
    "type": "message",
    "role": "assistant",
    "content": [{"type": "output_text", "text": SAID}],
}
RESPONSE = {"id": "r", "object": "response", "output": [OUTPUT]}
# A whole answer with text in it of which nothing can be given to the client.
UNUSABLE = [
    ("chat", "chat", completion("error")),
    ("responses", "chat", completion("error")),
    ("chat", "chat", completion("error", **REPORT)),
    ("chat", "chat", deep(completion("stop"))),
    ("chat", "chat", deep(completion("stop", **REPORT))),
    ("responses", "anthropic", MESSAGE),
    ("chat", "anthropic", MESSAGE),
    ("responses", "responses", orjson.dumps({**RESPONSE, "status": "in_progress"})),
    ("chat", "responses", orjson.dumps({**RESPONSE, "status": "in_progress"})),
    ("responses", "responses", deep(orjson.dumps({**RESPONSE, "status": "completed"}))),
]


def test_a_whole_answer_that_cannot_be_given_to_the_client_is_not_charged(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer
) -> None:
    budget(buyer, DOLLAR)
    spent = 0
    for door, protocol, said in UNUSABLE:
        gateway.call(gateway.worker.forget)
        script = Scripted(chunks=[said], content_type="application/json")
        gateway.sandbox.script("good", script)
        answer = post(door, f"good-{protocol}", "x" * 400)
        case = door, protocol, said[:150]
        assert answer.status_code >= 500, case
        row = booked()[-1]
        assert (row.status, row.charge_nano, answer.headers[CHARGE]) == ("failed", 0, "0"), case
        # What the provider may want for it is known all the same, unless it said that it failed.
        assert row.cost_nano == row.unfunded_nano, case
        before, spent = spent, BudgetWindow.objects.get().spent_nano
        assert spent - before >= row.cost_nano, case
        if (
            row.output_visible
        ):  # it was seen how much was written, so that no more needs to be assumed
            assert spent - before == row.cost_nano > 0, case


def test_a_summary_that_runs_out_of_time_is_not_charged(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer
) -> None:
    budget(buyer, DOLLAR)
    gateway.call(gateway.worker.forget)
    for stream in (False, True):
        with gateway.time_runs_out():
            answer = post("responses", "silence-chat", SAID * 10, stream=stream, **SUMMARISED)
        if not stream:
            assert (answer.status_code, answer.headers[CHARGE]) == (504, "0")
        row = booked()[-1]
        assert (row.route, row.status, row.charge_nano) == ("summary", "failed", 0)
        assert row.error_code == "upstream_timeout"
        assert row.unfunded_nano == row.cost_nano > 0
    assert BudgetWindow.objects.get().spent_nano >= sum(row.cost_nano for row in booked())


def test_who_leaves_during_a_summary_pays_its_input(
    gateway: LiveGateway, booked: Rows, buyer: Customer
) -> None:
    budget(buyer, DOLLAR)
    offer("silence-chat")
    gateway.call(gateway.worker.forget)
    asked = {"model": "silence-chat", "input": SAID * 10, **SUMMARISED}
    with Wire(gateway.root_url) as wire:
        wire.send(request("responses", buyer, asked))
        until(lambda: len(gateway.sandbox.calls) == 1)
    gateway.idle()
    (row,) = booked()
    assert (row.route, row.status) == ("summary", "client_gone")
    assert row.charge_nano == row.cost_nano > 0
