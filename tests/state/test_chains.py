"""Stored responses and what continues from them, over every upstream protocol."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from responses_api.models import StoredItem, StoredResponse
from tests.support import grammar
from tests.support.live import LiveGateway
from tests.support.rows import Customer

pytestmark = pytest.mark.persistence

Json = dict[str, Any]

each_protocol = pytest.mark.parametrize("protocol", ["chat", "responses", "anthropic"])
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])


@pytest.fixture
def http(gateway: LiveGateway, acme: Customer):
    with httpx.Client(base_url=gateway.base_url, headers=acme.headers, timeout=30) as client:
        yield client


def create(http: httpx.Client, protocol: str = "responses", **fields: Any) -> Json:
    body = {"model": f"sandbox-{protocol}", "input": "Hello", **fields}
    answer = http.post("/responses", json=body)
    assert answer.status_code == 200, answer.text
    if fields.get("stream"):
        return grammar.check_stream(answer.content)
    found: Json = answer.json()
    return found


def sent(gateway: LiveGateway) -> Json:
    gateway.idle()
    body: Json = gateway.sandbox.calls[-1].body
    return body


@each_protocol
@streamed_or_not
def test_a_response_is_stored_before_its_client_knows_it_ended(http, protocol, stream):
    response = create(http, protocol, stream=stream)

    assert response["store"] is True
    row = StoredResponse.objects.get(id=response["id"])
    assert (row.status, row.parent_id, row.root_id) == ("completed", "", response["id"])
    sides = list(StoredItem.objects.filter(response=row).values_list("side", "position"))
    assert sides[0] == (0, 0)
    assert [orjson.loads(i.body) for i in row.items.filter(side=1)] == response["output"]


@each_protocol
@streamed_or_not
def test_a_fork_sees_its_own_chain_and_no_other(http, gateway, protocol, stream):
    a = create(http, protocol, input="first A", stream=stream)
    b = create(http, protocol, input="then B", previous_response_id=a["id"], stream=stream)
    create(http, protocol, input="then C", previous_response_id=b["id"], stream=stream)

    d = create(http, protocol, input="then D", previous_response_id=a["id"], stream=stream)

    assert d["previous_response_id"] == a["id"]
    history = str(sent(gateway))
    assert "first A" in history
    assert "then D" in history
    assert "then B" not in history
    assert "then C" not in history
    assert StoredResponse.objects.get(id=d["id"]).root_id == a["id"]


def test_what_a_chain_cannot_continue_from_is_refused(http):
    answer = http.post(
        "/responses",
        json={"model": "sandbox-chat", "input": "Hi", "previous_response_id": "resp_unknown"},
    )

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "previous_response_not_found"
    assert answer.json()["error"]["param"] == "previous_response_id"


@each_protocol
def test_a_reference_stands_for_the_stored_item(http, gateway, protocol):
    first = create(http, protocol, input="What is the first word?")
    said = first["output"][0]["content"][0]["text"]
    given = [
        {"role": "user", "content": "Again."},
        {"type": "item_reference", "id": first["output"][0]["id"]},
        {"role": "user", "content": "And now?"},
    ]

    second = create(http, protocol, input=given)
    create(http, protocol, input=[*given, {"id": second["output"][0]["id"]}, *given[2:]])

    assert str(sent(gateway)).count(said) >= 1
    kept = StoredItem.objects.filter(response=second["id"], side=0).order_by("position")
    assert [item.item_id for item in kept][1] == first["output"][0]["id"]
