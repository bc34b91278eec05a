"""A call is in the books before its answer is where others find it."""

from __future__ import annotations

import pytest

from responses_api.accounting.spool_writer import SpoolWriter
from responses_api.calls.exchange import Exchange
from responses_api.stream.upstream_reader import UpstreamReader
from routing.protocols.shared.envelope import Maker
from tenants.ledger.spool import Spool, SpoolFailed
from tests.responses_api.accounting.conftest import Rows
from tests.support.rows import Customer


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("door", ["chat", "responses"])
def test_a_call_is_settled_before_its_answer_is_stored(
    post, booked: Rows, buyer: Customer, monkeypatch, door: str, stream: bool
) -> None:
    """Clients that poll for a response or repeat a key see its end once it is stored: a worker that is
    killed right then must not leave the call to be booked as abandoned."""
    settled: list[bool] = []
    keep = Exchange._store_answer

    async def looking(self: Exchange, reader: UpstreamReader, maker: Maker, out: bytes) -> bytes:
        attempt = self._dispatch.attempt
        settled.append(attempt is not None and attempt.is_settled)
        return await keep(self, reader, maker, out)

    monkeypatch.setattr(Exchange, "_store_answer", looking)
    told = {"stream": stream, "store": True}
    assert post(door, "good-chat", "Hello there", **told).status_code == 200
    (row,) = booked()
    assert row.status == "completed"
    assert settled == [True]


@pytest.mark.parametrize("door", ["chat", "responses"])
def test_a_call_that_the_disk_may_forget_is_settled_but_not_told_as_ended_well(
    post, booked: Rows, buyer: Customer, monkeypatch, door: str
) -> None:
    async def refusing(self: Spool) -> None:
        raise SpoolFailed("the spool cannot be made durable")

    monkeypatch.setattr(SpoolWriter, "waits_for_disk", True)
    monkeypatch.setattr(Spool, "durable", refusing)
    answer = post(door, "good-chat", "Hello there")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    (row,) = booked()
    assert row.status == "completed"
