"""A client that leaves pays for what was made for it: reading goes on for the report and nothing else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any, cast

import httpx
import orjson
import pytest

from gateway_project.lib.sse import Parser
from gateway_project.sandbox.log import LoggedCall
from responses_api.calls import leaving
from responses_api.calls.exchange import Exchange
from tenants.ledger.row_ids import request_id_of
from tenants.models import UsageRow
from tests.responses_api.accounting.conftest import INPUT_PICO, OUTPUT_PICO, Rows, offer, price
from tests.support import answers, rows, wire
from tests.support.answers import PROTOCOLS, report
from tests.support.client import question
from tests.support.live import LiveGateway
from tests.support.patience import GIVE_UP_SECONDS, until
from tests.support.rows import Customer
from tests.support.sockets import opened
from tests.support.upstream import Upstream
from tests.support.wire import Wire

DOORS = ("chat", "responses")
CELLS = [(door, protocol) for door in DOORS for protocol in PROTOCOLS]
TEXT = "Forty bytes are about ten tokens, no doubt. "
HIDDEN = 5_000
Leave = Callable[[], None]


@pytest.fixture
def upstream(buyer: Customer) -> Iterator[Upstream]:
    """One whose aliases are `told-chat`, `told-responses` and `told-anthropic`."""
    upstream = Upstream()
    for protocol in PROTOCOLS:
        provider = rows.provider(protocol, upstream.base_url, f"told-{protocol}")
        rows.alias(f"told-{protocol}", (provider, "told"))
        price(provider.name, "told")
    yield upstream
    upstream.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading on ends only by what the test does."""
    monkeypatch.setattr(leaving, "READ_ON_SECONDS", 1e6)


def begun(
    gateway: LiveGateway, buyer: Customer, upstream: Upstream, door: str, protocol: str
) -> Wire:
    """A client that has the first text of its stream."""
    client = Wire(gateway.root_url)
    client.send(wire.request(door, buyer, question(door, f"told-{protocol}", "Hi", True)))
    upstream.begin(answers.beginning(protocol, TEXT))
    client.wait_for(TEXT.strip().encode())
    return client


def running(gateway: LiveGateway) -> list[Exchange]:
    return gateway.call(
        lambda: [cast("Exchange", one) for one in gateway.worker.services.registry.running]
    )


def leave(gateway: LiveGateway, client: Wire) -> None:
    """Close the connection, and wait until the gateway has noticed."""
    client.socket.close()
    until(lambda: [one.progress.phase.value for one in running(gateway)] == ["ended"])


def charged(row: UsageRow) -> int:
    return (row.input_fresh * INPUT_PICO + sum(row.tokens[5:]) * OUTPUT_PICO) // 1000


@pytest.mark.usefixtures("patient")
def test_who_leaves_after_the_last_text_pays_for_the_reasoning_nobody_saw(
    gateway: LiveGateway, booked: Rows, buyer: Customer, upstream: Upstream
) -> None:
    for door, protocol in CELLS:
        client = begun(gateway, buyer, upstream, door, protocol)
        leave(gateway, client)
        usage = report(protocol, 70, HIDDEN + 11, reasoning=HIDDEN)
        # The report comes in pieces, with signs of life between them.
        ending = answers.ending(protocol, TEXT, usage)
        upstream.send(b": still here\n\n")
        upstream.send(ending[:9])
        upstream.send(ending[9:])
        upstream.wait_for_close()
    found = booked()
    assert len(found) == len(CELLS)
    for cell, row in zip(CELLS, found, strict=True):
        assert (row.status, row.usage_source, row.usage_anomaly) == (
            "client_gone",
            "provider",
            False,
        )
        assert (row.input_fresh, row.output_visible, row.output_reasoning) == (70, 11, HIDDEN), cell
        assert row.charge_nano == charged(row) > HIDDEN * OUTPUT_PICO // 1000, cell


@pytest.mark.usefixtures("patient")
def test_the_next_piece_of_text_closes_the_upstream(
    gateway: LiveGateway, booked: Rows, buyer: Customer, upstream: Upstream
) -> None:
    for door, protocol in CELLS:
        leave(gateway, begun(gateway, buyer, upstream, door, protocol))
        upstream.send(answers.more(protocol, TEXT))
        upstream.wait_for_close()
    for cell, row in zip(CELLS, booked(), strict=True):
        assert (row.status, row.usage_source) == ("client_gone", "counted"), cell
        assert row.output_visible == 2 * len(TEXT) // 4, cell
        assert row.input_fresh > 0, cell


@pytest.mark.usefixtures("patient")
def test_over_a_websocket_it_is_the_same(
    gateway: LiveGateway, booked: Rows, buyer: Customer, upstream: Upstream
) -> None:
    for protocol in PROTOCOLS:
        with opened(gateway, buyer.headers) as ws:
            ws.create(f"told-{protocol}", input="Hi")
            upstream.begin(answers.beginning(protocol, TEXT))
            while "delta" not in str(ws.connection.recv(GIVE_UP_SECONDS)):
                pass
            ws.connection.socket.close()
        until(lambda: [one.progress.phase.value for one in running(gateway)] == ["ended"])
        usage = report(protocol, 70, HIDDEN + 11, reasoning=HIDDEN)
        upstream.send(answers.ending(protocol, TEXT, usage))
        upstream.wait_for_close()
    assert [(row.status, row.usage_source, row.output_reasoning) for row in booked()] == [
        ("client_gone", "provider", HIDDEN)
    ] * 3


@pytest.mark.usefixtures("patient")
def test_a_worker_that_stops_does_not_wait_for_a_report(
    gateway: LiveGateway, booked: Rows, buyer: Customer, upstream: Upstream
) -> None:
    leave(gateway, begun(gateway, buyer, upstream, "responses", "chat"))
    assert len(gateway.worker.services.registry) == 1  # it counts as running
    gateway.call(gateway.worker.services.registry.interrupt_all)
    upstream.wait_for_close()
    (row,) = booked()
    assert (row.status, row.usage_source) == ("client_gone", "counted")
    assert row.output_visible == len(TEXT) // 4


def test_an_upstream_that_says_nothing_more_is_closed_in_time(
    gateway: LiveGateway,
    booked: Rows,
    buyer: Customer,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leaving, "READ_ON_SECONDS", 0.05)
    begun(gateway, buyer, upstream, "chat", "responses").socket.close()
    upstream.wait_for_close()
    monkeypatch.setattr(leaving, "READ_ON_SECONDS", 1e6)
    leave(gateway, begun(gateway, buyer, upstream, "chat", "responses"))
    upstream.end()  # without a report
    assert [(row.status, row.usage_source, row.output_visible) for row in booked()] == [
        ("client_gone", "counted", len(TEXT) // 4)
    ] * 2


def test_a_client_that_was_given_nothing_keeps_no_upstream(
    gateway: LiveGateway, booked: Rows, buyer: Customer, upstream: Upstream
) -> None:
    client = Wire(gateway.root_url)
    client.send(wire.request("responses", buyer, question("responses", "told-chat", "Hi", True)))
    upstream.begin(b": thinking\n\n")
    until(lambda: [one.progress.phase.value for one in running(gateway)] == ["streaming"])
    client.socket.close()
    upstream.wait_for_close()
    (row,) = booked()
    assert (row.status, row.usage_source, row.output_visible) == ("client_gone", "counted", 0)
    assert row.input_fresh > 0


@pytest.mark.usefixtures("patient")
def test_a_stored_answer_whose_client_left_before_its_end_is_kept_as_cancelled(
    gateway: LiveGateway, buyer: Customer, upstream: Upstream
) -> None:
    for protocol in PROTOCOLS:
        client = begun(gateway, buyer, upstream, "responses", protocol)
        created = orjson.loads(client.received.partition(b"data: ")[2].partition(b"\n")[0])
        leave(gateway, client)
        usage = report(protocol, 70, 11)
        upstream.send(answers.ending(protocol, TEXT, usage))
        upstream.wait_for_close()
        url = f"{gateway.base_url}/responses/{created['response']['id']}"
        until(lambda url=url: httpx.get(url, headers=buyer.headers).is_success)  # type: ignore[misc]
        kept = httpx.get(url, headers=buyer.headers).json()
        (message,) = kept["output"]
        assert (kept["status"], message["content"][0]["text"]) == ("cancelled", TEXT), protocol
        assert kept["usage"]["output_tokens"] == 11


# Leaving at any moment


async def leave_somewhere(
    gateway: LiveGateway, buyer: Customer, number: int, seed: random.Random
) -> bytes:
    """Ask, read some of the answer and leave; what was read."""
    door, protocol = CELLS[number % len(CELLS)]
    directives = f"[chunks={seed.choice((1, 5, 60))}] [pace={seed.choice((0, 0, 1, 3))}]"
    text = directives + seed.choice(("", " [reason]"))
    payload = question(door, f"good-{protocol}", text, stream=seed.random() < 0.9)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(wire.request(door, buyer, payload, connection="close"))
    received, wanted = b"", seed.choice((1, 300, 1_000, 3_000, 100_000))
    try:
        async with asyncio.timeout(seed.choice((0.01, 0.05, 5))):
            while len(received) < wanted:
                piece = await reader.read(seed.choice((1, 200, 4_096)))
                if not piece:
                    break
                received += piece
    except TimeoutError:
        pass
    if seed.random() < 0.5:
        writer.transport.abort()
    writer.close()
    return received


def written_to(received: bytes) -> tuple[int, int]:
    """Deltas and bytes of text in what a client has of an answer."""
    _, _, rest = received.partition(b"\r\n\r\n")
    body = b""
    while b"\r\n" in rest:  # the chunks that came whole
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    deltas = [piece for frame in Parser().feed(body) for piece in _texts(frame.data)]
    return len(deltas), sum(map(len, deltas))


def _texts(data: bytes) -> list[str]:
    event: Any = orjson.loads(data) if data.startswith(b"{") else {}
    if str(event.get("type")).endswith(".delta"):
        return [event["delta"]]
    found = []
    for choice in event.get("choices", ()):
        delta = choice["delta"]
        found += [delta.get("content"), delta.get("reasoning_content")]
    return [text for text in found if text]


def test_whoever_leaves_whenever_pays_for_what_was_written_to_them(
    gateway: LiveGateway, booked: Rows, buyer: Customer
) -> None:
    seed = random.Random(11)
    for protocol in PROTOCOLS:
        offer(f"good-{protocol}")

    async def many() -> list[bytes]:
        found: list[bytes] = []
        for start in range(0, 120, 12):
            batch = range(start, start + 12)
            found += await asyncio.gather(
                *(leave_somewhere(gateway, buyer, each, seed) for each in batch)
            )
        return found

    received = asyncio.run(many())
    had = {}
    for raw in received:
        head = raw.partition(b"\r\n\r\n")[0]
        _, _, request_id = head.partition(b"x-request-id: ")
        if head.startswith(b"HTTP/1.1 200") and b"chunked" in head:
            had[request_id.partition(b"\r\n")[0].decode()] = written_to(raw)
    found = booked()
    calls = {call.headers["x-request-id"]: call for call in gateway.sandbox.calls}
    assert {request_id_of(row.id) for row in found} >= set(had)
    for row in found:
        assert_is_paid(
            row, calls.get(request_id_of(row.id)), had.get(request_id_of(row.id), (0, 0))
        )
    assert "client_gone" in {row.status for row in found}


def assert_is_paid(row: UsageRow, call: LoggedCall | None, had: tuple[int, int]) -> None:
    """`had`: deltas and bytes its client received."""
    deltas, size = had
    shown = (request_id_of(row.id), row.status, row.usage_source, row.tokens, had)
    output = sum(row.tokens[5:])
    if row.usage_source == "none":  # it had not been sent yet
        assert call is None, shown
        assert sum(row.tokens) == deltas == 0, shown
        return
    assert row.input_fresh > 0, shown
    assert row.charge_nano == charged(row), shown
    assert not row.usage_anomaly, shown
    if row.usage_source == "provider":
        assert call is not None
        told = report_of(call)
        assert (row.input_fresh, output) == told, (shown, told)
    else:
        assert output >= max(deltas, size // 4), shown
        assert output > 0 or not deltas, shown


def report_of(call: LoggedCall) -> tuple[int, int]:
    usage = call.usage or {}
    names = ("prompt_tokens", "completion_tokens")
    inputs, outputs = (
        usage.get(name, usage.get(other))
        for name, other in zip(names, ("input_tokens", "output_tokens"), strict=True)
    )
    return cast("int", inputs), cast("int", outputs)
