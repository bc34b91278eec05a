"""Answers are kept or not: the request, the alias, the tenant, the key and the database have a say."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from responses_api.models import Conversation, StoredCompletion, StoredItem, StoredResponse
from responses_api.storage.records import CompletionRecord, ResponseRecord
from routing.models import Alias, Provider
from tenants.models import Tenant
from tests.responses_api.storage.calls import ask, create
from tests.support import grammar, rows, storing, wire
from tests.support.client import client_of, error_of, question
from tests.support.live import LiveGateway
from tests.support.patience import GIVE_UP_SECONDS, until
from tests.support.rows import PROTOCOLS, Customer
from tests.support.wire import Wire

Json = dict[str, Any]

each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
STORE: Json = {"store": True}


def complete(http: httpx.Client, **fields: Any) -> httpx.Response:
    messages = [{"role": "user", "content": "Hi"}]
    body = {"model": "sandbox-chat", "messages": messages, **fields}
    return http.post("/chat/completions", json=body)


def is_stored(response: Json) -> bool:
    """Tell whether the response is stored, and check that it says so."""
    found = StoredResponse.objects.filter(id=response["id"]).exists()
    assert response["store"] is found
    return found


# Who decides


@streamed_or_not
@pytest.mark.parametrize(
    ("asked", "of_alias", "of_tenant", "expected"),
    [
        (None, None, True, True),
        (None, None, False, False),
        (None, False, True, False),
        (None, True, False, True),
        (True, False, False, True),
        (False, True, True, False),
    ],
)
def test_the_request_decides_else_the_alias_else_the_tenant(
    http, acme, asked, of_alias, of_tenant, expected, stream
):
    Alias.objects.filter(name="sandbox-responses").update(store_by_default=of_alias)
    Tenant.objects.filter(pk=acme.tenant.pk).update(store_by_default=of_tenant)

    assert is_stored(create(http, store=asked, stream=stream)) is expected


def with_scopes(gateway: LiveGateway, customer: Customer, *scopes: str) -> None:
    customer.key.scopes = list(scopes)
    customer.key.save()
    gateway.call(gateway.worker.forget)  # now, and not within a second


def test_a_key_that_may_not_store_stores_nothing_by_itself(http, acme, gateway):
    with_scopes(gateway, acme, "generate", "read")

    assert not is_stored(create(http))
    assert not is_stored(create(http, store=False))


def test_a_key_that_may_not_store_is_told_so_when_it_asks(http, acme, gateway):
    with_scopes(gateway, acme, "generate", "read")

    response, completion = ask(http, store=True), complete(http, store=True)

    assert response.status_code == completion.status_code == 403
    assert response.json()["error"]["code"] == "insufficient_scope"
    assert len(gateway.sandbox.calls) == 0


def test_a_key_that_may_not_read_continues_from_nothing(http, acme, gateway):
    first = create(http)
    Conversation.objects.create(id="conv_1", tenant=acme.tenant)
    with_scopes(gateway, acme, "generate", "store")
    before = len(gateway.sandbox.calls)

    for fields in (
        {"previous_response_id": first["id"]},
        {"previous_response_id": "resp_unknown"},
        {"conversation": "conv_1"},
        {"input": [{"id": first["output"][0]["id"]}]},
    ):
        answer = ask(http, **fields)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "insufficient_scope")
    assert len(gateway.sandbox.calls) == before


def test_a_completion_is_kept_when_it_is_asked_for_and_not_otherwise(http):
    for fields in ({}, {"store": None}, {"store": False}):
        complete(http, **fields)
    assert StoredCompletion.objects.count() == 0

    completion = complete(http, store=True, metadata={"team": "a"}).json()

    row = StoredCompletion.objects.get()
    assert (row.id, row.metadata) == (completion["id"], {"team": "a"})


def test_an_answer_is_kept_as_long_as_its_tenant_says(gateway):
    rows.sandbox_aliases(gateway.sandbox.base_url)
    with client_of(gateway, rows.customer(retention_days=7)) as http:
        create(http)

    row = StoredResponse.objects.get()
    assert (row.expires_at - row.created_at).days == 7


# Without the database


@pytest.mark.persistence
@each_protocol
@streamed_or_not
def test_what_runs_when_the_database_goes_away_ends_without_being_stored(http, protocol, stream):
    with storing.unreachable(ResponseRecord):
        response = create(http, protocol, stream=stream)

    assert response["status"] == "completed"
    assert not is_stored(response)


@pytest.mark.persistence
@streamed_or_not
def test_without_the_database_nothing_that_is_to_be_stored_is_begun(http, gateway, stream):
    with storing.unreachable(ResponseRecord):
        create(http)
        before = len(gateway.sandbox.calls)
        refused_at_open = ask(http, stream=stream, **STORE)
        by_default = ask(http, stream=stream)
        completion = complete(http, **STORE)

        assert len(gateway.sandbox.calls) == before
        assert not is_stored(create(http, store=False, stream=stream))

    for answer in (refused_at_open, by_default, completion):
        assert answer.status_code == 503
        assert '"store": false' in answer.json()["error"]["message"]
        assert answer.headers["retry-after"] == "2"


@pytest.mark.persistence
def test_when_the_database_is_back_answers_are_stored_again(http):
    with storing.unreachable(ResponseRecord):
        create(http)

    until(lambda: ask(http, **STORE).status_code == 200)

    assert is_stored(create(http))


def test_a_stream_says_at_its_end_that_it_was_not_stored(http):
    with storing.unreachable(ResponseRecord):
        events = grammar.read(ask(http, stream=True).content)

    assert [event["response"]["store"] for event in events if "response" in event] == [
        True,
        True,
        False,
    ]


def test_a_completion_that_cannot_be_kept_is_given_all_the_same(http):
    with storing.unreachable(CompletionRecord):
        answer = complete(http, store=True)

    assert answer.status_code == 200
    assert StoredCompletion.objects.count() == 0


@pytest.mark.persistence
@streamed_or_not
def test_an_answer_that_is_being_stored_is_not_told_to_have_failed(gateway, acme, stream):
    body = question("responses", "sandbox-responses", "Hi", stream)
    client = Wire(gateway.root_url)
    with storing.held(ResponseRecord) as record:
        client.send(wire.request("responses", acme, body))
        assert record.arrived.wait(GIVE_UP_SECONDS)
        gateway.call(gateway.worker.services.registry.interrupt_all)

    answer = client.answer()

    response = answer.events[-1]["response"] if stream else answer.json()
    assert response["status"] == StoredResponse.objects.get().status == "completed"


# What did not end well


@pytest.mark.persistence
@each_protocol
def test_a_stream_that_failed_is_kept_as_failed_and_continued_by_nobody(http, protocol):
    provider = Provider.objects.get(name=f"sandbox-{protocol}")
    rows.alias("failing", (provider, "sandbox-fault-error-mid"))

    response = create(http, "failing", input="[chunks=9]", stream=True)

    row = StoredResponse.objects.get()
    assert (row.id, row.status, response["status"]) == (response["id"], "failed", "failed")
    assert is_stored(response)
    next_turn = ask(http, previous_response_id=response["id"])
    assert error_of(next_turn) == (400, "invalid_request", "previous_response_id")


@each_protocol
@streamed_or_not
def test_a_call_that_failed_as_an_http_error_leaves_nothing(http, protocol, stream):
    provider = Provider.objects.get(name=f"sandbox-{protocol}")
    rows.alias("failing", (provider, "sandbox-fault-500"))

    assert ask(http, "failing", stream=stream).status_code == 502
    assert StoredResponse.objects.count() == StoredItem.objects.count() == 0


@pytest.mark.persistence
@each_protocol
def test_a_stream_whose_client_left_is_kept_as_cancelled(gateway, acme, http, protocol):
    body = question("responses", f"sandbox-{protocol}", "[chunks=1000] [pace=20]", True)
    with Wire(gateway.root_url) as client:
        client.send(wire.request("responses", acme, body))
        client.wait_for(b"response.output_text.delta")
        until(lambda: b"resp_" in client.received)

    until(StoredResponse.objects.exists)

    row = StoredResponse.objects.get()
    assert row.status == "cancelled"
    assert row.id.encode() in client.received
    next_turn = ask(http, previous_response_id=row.id)
    assert error_of(next_turn) == (400, "invalid_request", "previous_response_id")


def test_a_stream_that_an_operator_cancelled_is_kept_as_failed(gateway, acme):
    body = question("responses", "sandbox-responses", "[chunks=1000] [pace=20]", True)
    client = Wire(gateway.root_url)
    client.send(wire.request("responses", acme, body))
    client.wait_for(b"response.output_text.delta")
    gateway.call(lambda: cancel_all(gateway))

    assert client.answer().events[-1]["type"] == "response.failed"
    assert StoredResponse.objects.get().status == "failed"


def cancel_all(gateway: LiveGateway) -> None:
    registry = gateway.worker.services.registry
    for running in registry.running:
        registry.cancel(running.request_id)
