"""A client, runs at rest and at work, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import orjson
import pytest
from django.db import connection, transaction

from gateway_project.sandbox.log import LoggedCall
from responses_api.background import runs
from responses_api.background.events import NumberedEvents, number_events
from responses_api.background.runs import Begin, Order
from responses_api.models import Run
from responses_api.storage.items import identify_item
from responses_api.storage.records import StoreSpec
from responses_api.stream import response as response_object
from responses_api.stream.events import CREATED, QUEUED, event
from routing.models import Provider
from tests.support import grammar, rows, storing
from tests.support.live import LiveGateway
from tests.support.patience import GIVE_UP_SECONDS, until
from tests.support.rows import Customer

Json = dict[str, Any]

# Slow enough to be met in the middle, quick enough to wait for.
PACED = "[chunks=20] [pace=30]"
ENDLESS = "[pace=20]"


class Client(httpx.Client):
    """One who asks the gateway for responses."""

    def create(self, protocol: str = "responses", text: str = "Hello", **fields: Any) -> Json:
        """A response in the background, as it was when it was queued."""
        body = {"model": f"sandbox-{protocol}", "input": text, "background": True, **fields}
        answer = self.post("/responses", json=body)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def streamed(
        self, protocol: str = "responses", text: str = "Hello", **fields: Any
    ) -> list[Json]:
        """The events of a response in the background."""
        body = {"model": f"sandbox-{protocol}", "input": text, "background": True, **fields}
        answer = self.post("/responses", json={**body, "stream": True})
        assert answer.status_code == 200, answer.text
        return grammar.read(answer.content)

    def begun(self, protocol: str = "responses", text: str = PACED, **fields: Any) -> str:
        """The id of a response whose stream has just begun, and whose client has left."""
        body = {"model": f"sandbox-{protocol}", "input": text, "background": True, **fields}
        with self.stream("POST", "/responses", json={**body, "stream": True}) as answer:
            assert answer.status_code == 200, answer.read()
            lines = (line for line in answer.iter_lines() if line.startswith("data: "))
            found: str = orjson.loads(next(lines)[6:])["response"]["id"]
        return found

    def cancel(self, response_id: str) -> Json:
        """The Response as cancelling it answers."""
        answer = self.post(f"/responses/{response_id}/cancel")
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def events(self, response_id: str, **query: Any) -> list[Json]:
        """The events of a response, to its end."""
        answer = self.get(f"/responses/{response_id}", params={"stream": "true", **query})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        if answer.content == b"data: [DONE]\n\n":
            return []
        return grammar.read(answer.content)


def client_for(gateway: LiveGateway, customer: Customer) -> Client:
    return Client(base_url=gateway.base_url, headers=customer.headers, timeout=GIVE_UP_SECONDS)


@pytest.fixture
def http(gateway: LiveGateway, acme: Customer) -> Iterator[Client]:
    until(lambda: gateway.can_store)
    with client_for(gateway, acme) as client:
        yield client
    stop_everything(gateway)


def stop_everything(gateway: LiveGateway) -> None:
    """End what a test left running."""
    for run in Run.objects.filter(ended_at=None):
        runs.cancel(run.tenant_id, run.response_id)
    gateway.idle()
    until(lambda: not gateway.worker.runs.running_count)


def alias(name: str, model: str, protocol: str = "responses", **fields: Any) -> str:
    """An alias of another of the sandbox's models."""
    provider = Provider.objects.get(name=f"sandbox-{protocol}")
    rows.alias(name, (provider, model), **fields)
    return name


def ended(response_id: str) -> Run:
    """The run once it has ended."""
    until(lambda: Run.objects.get(pk=response_id).ended_at is not None)
    return Run.objects.get(pk=response_id)


def response_of(run: Run) -> Json:
    """The Response as it is stored."""
    output = run.response.items.filter(side=1).order_by("position")
    return {
        **orjson.loads(bytes(run.response.body)),
        "output": [orjson.loads(bytes(item.body)) for item in output],
    }


def as_kept(response: Json) -> list[Json]:
    """The output of a Response as its items are stored."""
    return [identify_item(item) for item in response["output"]]


def upstream_call(gateway: LiveGateway, count: int = 1) -> LoggedCall:
    """The last of the calls the provider has got."""
    until(lambda: len(gateway.sandbox.calls) >= count)
    return gateway.sandbox.calls[-1]


# Runs without a worker

Make = Callable[..., Order]


def written(record: Any) -> Any:
    """Write one record in a transaction of its own and return the result."""
    with transaction.atomic(), connection.cursor() as cursor:
        return storing.kind_of(type(record)).write_many(cursor, [record])[0]


def queued(
    tenant_id: int,
    response_id: str = "resp_1",
    *,
    model: str = "m",
    streams: bool = True,
    **fields: Any,
) -> Order:
    """A run that waits, as a worker reads it."""
    said = {"type": "message", "id": "msg_in", "role": "user", "content": []}
    store_spec = StoreSpec(tenant_id, "k", model, 30, [said], **fields)
    response = {
        **response_object.in_progress(
            {}, response_id, model, 1, {"background": True, "store": True}
        ),
        "status": "queued",
    }
    opening = b"".join(
        event(kind, n, {"response": response}) for n, kind in enumerate((CREATED, QUEUED))
    )
    events = number_events(opening, 0) if streams else NumberedEvents(b"", 0, -1)
    assert written(Begin(store_spec, response, streams, events, request=b"{}"))
    order = runs.load(tenant_id, response_id)
    assert order is not None
    return order


def said(number: int, text: str = "x") -> NumberedEvents:
    """One event of output."""
    delta = event(b"response.output_text.delta", number, {"output_index": 0, "delta": text})
    return number_events(delta, number)


def item_done(number: int, index: int = 0) -> NumberedEvents:
    """An item that is finished."""
    item = {"id": f"msg_{index}", "type": "message", "role": "assistant", "content": []}
    done = event(b"response.output_item.done", number, {"output_index": index, "item": item})
    return number_events(done, number)
