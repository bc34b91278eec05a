"""A guardrail of answers does the same for each door, transport and action; none is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from responses_api.doors.registry import DOORS
from routing.protocols import PROTOCOLS
from tests.responses_api.doors.speakers import SPEAKERS
from tests.responses_api.guardrails.test_calls import PATHS, guard
from tests.support import ledger
from tests.support.client import client_of, events_in
from tests.support.live import LiveGateway
from tests.support.patience import until
from tests.support.rows import Customer
from tests.support.sockets import opened, text_of

Json = dict[str, Any]
Transport = Callable[[LiveGateway, Customer, str], tuple[str, str]]
SAID = "[chunks=0] go apples go"
TEXTS = {
    "mask": "You said: go [REDACTED] go",
    "monitor": "You said: go apples go",
}
OUTCOMES = {"block": "blocked", "mask": "masked", "monitor": "monitored"}


def over_http(door: str, *, stream: bool) -> Transport:
    def ask(gateway: LiveGateway, customer: Customer, model: str) -> tuple[str, str]:
        body = {"model": model, **SPEAKERS[door].ask(SAID), "stream": stream}
        with client_of(gateway, customer) as client:
            answer = client.post(PATHS[door], json=body)
        assert answer.status_code == 200
        speaker = SPEAKERS[door]
        if stream:
            return speaker.read_stream(events_in(answer.content))[0], answer.text
        return speaker.read(answer.json())[0], answer.text

    return ask


def over_a_websocket(gateway: LiveGateway, customer: Customer, model: str) -> tuple[str, str]:
    with opened(gateway, customer.headers) as ws:
        response = ws.turn(model=model, input=SAID)
    return text_of(response) if response["output"] else "", str(response)


def in_the_background(gateway: LiveGateway, customer: Customer, model: str) -> tuple[str, str]:
    body = {"model": model, "input": SAID, "background": True}
    with client_of(gateway, customer) as client:
        address = f"/responses/{client.post('/responses', json=body).json()['id']}"
        until(lambda: client.get(address).json()["status"] not in {"queued", "in_progress"})
        response = client.get(address).json()
    return text_of(response) if response["output"] else "", str(response)


TRANSPORTS: dict[str, dict[str, Transport]] = {
    door: {"json": over_http(door, stream=False), "sse": over_http(door, stream=True)}
    for door in PATHS
}
TRANSPORTS["responses"] |= {"websocket": over_a_websocket, "background": in_the_background}


def test_no_door_is_left_out() -> None:
    """Compaction gives a sealed summary, which is looked at in a way of its own."""
    assert {name for name, door in DOORS.items() if door.generates} - {"compact"} == set(TRANSPORTS)


@pytest.mark.parametrize("action", OUTCOMES)
def test_an_answer_is_treated_alike_over_every_transport(
    gateway: LiveGateway, customer: Customer, action: str
) -> None:
    guard(customer, action, "output", "apples")
    cells = [
        (door, name, protocol)
        for door, transports in TRANSPORTS.items()
        for name in transports
        for protocol in PROTOCOLS
    ]
    for door, name, protocol in cells:
        text, everything = TRANSPORTS[door][name](gateway, customer, f"m-{protocol}")
        row = ledger.rows(gateway)[-1]
        cell = (door, name, protocol)
        assert row.guardrail_outcome == OUTCOMES[action], cell
        if action == "block":
            assert "apples" not in everything, cell
            assert "content_filter" in everything, cell
            assert (row.status, row.error_code) == ("incomplete", "content_filter"), cell
        else:
            assert text == TEXTS[action], cell
            assert row.status == "completed", cell
    assert len(cells) == len(PROTOCOLS) * 6
