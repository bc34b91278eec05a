"""A foreign id in a request's body is answered as an unknown one, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from responses_api.models import Conversation, StoredResponse
from tests.responses_api.storage.calls import ask, create, sent
from tests.support import rows
from tests.support.client import client_of
from tests.support.rows import Customer

Json = dict[str, Any]

streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
HELLO: Json = {"role": "user", "content": "Hi"}

# How a body names something: of what kind it is, and where the id stands.
NAMES: dict[str, tuple[str, Callable[[str], Json]]] = {
    "previous_response_id": ("response", lambda named: {"previous_response_id": named}),
    "conversation": ("conversation", lambda named: {"conversation": named}),
    "conversation.id": ("conversation", lambda named: {"conversation": {"id": named}}),
    "item_reference": (
        "item",
        lambda named: {"input": [HELLO, {"type": "item_reference", "id": named}]},
    ),
    "item_reference without a type": ("item", lambda named: {"input": [HELLO, {"id": named}]}),
    "item_reference to an input": ("input", lambda named: {"input": [HELLO, {"id": named}]}),
    "item_reference to an item of a conversation": (
        "conversation item",
        lambda named: {"input": [HELLO, {"id": named}]},
    ),
}
each_name = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def owned(http: httpx.Client, acme: Customer) -> dict[str, str]:
    """Ids of what acme has."""
    Conversation.objects.create(id="conv_of_acme", tenant=acme.tenant)
    response = create(http, input="A secret of acme")
    create(http, input="Another secret", conversation="conv_of_acme")
    row = StoredResponse.objects.get(id=response["id"])
    of_conversation = Conversation.objects.get().items.get(position=0)
    return {
        "response": response["id"],
        "conversation": "conv_of_acme",
        "item": response["output"][0]["id"],
        "input": row.items.get(side=0).item_id,
        "conversation item": of_conversation.item_id,
    }


def unknown(known: str) -> str:
    """An id of the same form that nobody has."""
    return known[:-4] + "0000"


@each_name
@streamed_or_not
def test_what_another_tenant_has_is_what_nobody_has(gateway, owned, name, stream):
    kind, fields = NAMES[name]
    with client_of(gateway, rows.customer("zenith")) as stranger:
        before = len(gateway.sandbox.calls)
        theirs = ask(stranger, **fields(owned[kind]), stream=stream)
        nobodys = ask(stranger, **fields(unknown(owned[kind])), stream=stream)

    assert theirs.status_code == nobodys.status_code == 400
    assert theirs.content == nobodys.content
    assert comparable(theirs) == comparable(nobodys)
    assert len(gateway.sandbox.calls) == before


def comparable(answer: httpx.Response) -> list[tuple[str, str]]:
    differing = {"x-request-id", "date"}
    return [(name, value) for name, value in answer.headers.items() if name not in differing]


@each_name
def test_what_was_deleted_is_what_nobody_has(http, acme, owned, name):
    kind, fields = NAMES[name]
    StoredResponse.objects.all().delete()
    Conversation.objects.all().delete()

    deleted, nobodys = ask(http, **fields(owned[kind])), ask(http, **fields(unknown(owned[kind])))

    assert deleted.status_code == 400
    assert deleted.content == nobodys.content


@each_name
def test_its_owner_may_name_it(http, gateway, owned, name):
    kind, fields = NAMES[name]

    create(http, **fields(owned[kind]))

    assert len(sent(gateway)["input"]) > 1


def test_a_strangers_parent_does_not_complete_a_chain(http, gateway, owned):
    """A row of another tenant names it, as only a fault of ours could make it."""
    with client_of(gateway, rows.customer("zenith")) as stranger:
        own = create(stranger)
        StoredResponse.objects.filter(id=own["id"]).update(parent_id=owned["response"])
        broken = ask(stranger, previous_response_id=own["id"])
        nobodys = ask(stranger, previous_response_id="resp_unknown")

    assert broken.content == nobodys.content
