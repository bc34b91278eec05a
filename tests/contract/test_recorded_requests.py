"""Requests that real clients sent, recorded and sent again byte for byte alike, but for the model's name."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from tests.plugins.cases import cases
from tests.support import grammar, reference
from tests.support.patience import GIVE_UP_SECONDS

Json = dict[str, Any]

pytestmark = [pytest.mark.clients, pytest.mark.django_db(transaction=True)]

OF_THE_CONNECTION = {"authorization", "connection", "content-length", "host"}


def recorded() -> list[Any]:
    """Test parameters: each recorded request once, however often it was repeated."""
    found: dict[str, Any] = {}
    for name, request in reference.captures():
        body = orjson.dumps({**request["body"], "model": ""}).decode()
        found.setdefault(body, pytest.param(request, id=name))
    return list(found.values())


def missing_state(body: Json) -> tuple[str, str] | None:
    """Code and field of the error about what was stored where the request was recorded, and not here."""
    if "previous_response_id" in body:
        return "previous_response_not_found", "previous_response_id"
    items = body.get("input")
    kinds = [item.get("type") for item in items] if isinstance(items, list) else []
    if "item_reference" not in kinds:
        return None
    return "item_not_found", f"input[{kinds.index('item_reference')}]"


def replay(gateway, customer, protocol: str, request: Json) -> httpx.Response:
    headers = [
        (name, value) for name, value in request["headers"] if name.lower() not in OF_THE_CONNECTION
    ]
    body = orjson.dumps({**request["body"], "model": f"sandbox-{protocol}"})
    return httpx.post(
        gateway.root_url + request["path"],
        content=body,
        headers=[*headers, *customer.headers.items()],
        timeout=GIVE_UP_SECONDS,
        trust_env=False,
    )


def outcome(request: Json, answer: httpx.Response) -> str:
    """Return how a whole answer says that it ended."""
    is_chat = request["path"].endswith("/chat/completions")
    if not request["body"].get("stream"):
        said = answer.json()
        return said["choices"][0]["finish_reason"] if is_chat else said["status"]
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    if not is_chat:
        return grammar.check(grammar.read(answer.content))["status"]
    blocks = answer.text.removesuffix("\n\n").split("\n\n")
    assert blocks[-1] == "data: [DONE]"
    chunks = [orjson.loads(block.removeprefix("data: ")) for block in blocks[:-1]]
    endings = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    (ending,) = filter(None, endings)
    return ending


@cases("sent", recorded)
def test_a_recorded_request_is_answered_to_its_end(gateway, acme, protocol, sent):
    answer = replay(gateway, acme, protocol, sent)
    missing = missing_state(sent["body"])
    if missing is None:
        assert answer.status_code == 200, answer.text
        assert outcome(sent, answer) in {"completed", "stop"}
        assert len(gateway.sandbox.calls) == 1
        return
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == missing
    assert len(gateway.sandbox.calls) == 0
