"""The public Open Responses suite's tests of the WebSocket transport, one by one (docs/wire.md 7.5)."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from tests.support import grammar, reference
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.sockets import Socket, opened, text_of

Json = dict[str, Any]


@pytest.fixture(params=["chat", "responses", "anthropic"])
def model(request: pytest.FixtureRequest) -> str:
    return f"sandbox-{request.param}"


@pytest.fixture(scope="module")
def specified() -> dict[str, str]:
    """The specification's schema for each type of frame."""
    document = reference.json_of("schemas/openresponses-openapi-2026-04-24.json")
    schemas: Json = document["components"]["schemas"]
    names = [name for name in schemas if name.endswith("StreamingEvent")]
    names = [name for name in names if name != "ErrorStreamingEvent"]
    found = {schemas[name]["properties"]["type"]["enum"][0]: name for name in names}
    return {**found, "error": "WebSocketErrorEvent"}


def message(text: str) -> Json:
    return {"type": "message", "role": "user", "content": text}


def assert_specified(frames: list[Json], specified: dict[str, str]) -> None:
    for frame in frames:
        schema = reference.open_responses_validator(specified[frame["type"]])
        assert reference.explain(schema, frame) == []


def test_websocket_response(ws: Socket, model: str, specified: dict[str, str]) -> None:
    ws.send({"type": "response.create", "model": model, "input": [message("Count to 3.")]})

    events = ws.events()

    assert_specified(events, specified)
    assert grammar.check(events)["status"] == "completed"


def test_websocket_sequential_responses(ws: Socket, model: str) -> None:
    ws.create(model, input="One", store=False)
    ws.create(model, input="Two", store=False)

    first, second = ws.response(), ws.response()

    assert (text_of(first), text_of(second)) == ("You said: One", "You said: Two")


def test_websocket_continuation(gateway, ws: Socket, model: str) -> None:
    first = ws.turn(model, input="My name is Ada.", store=False)
    second = ws.turn(model, input="Who?", previous_response_id=first["id"], store=False)

    assert second["status"] == "completed"
    assert second["previous_response_id"] == first["id"]
    gateway.idle()
    assert "My name is Ada." in orjson.dumps(gateway.sandbox.calls[-1].body).decode()


def test_websocket_compact_new_chain(gateway, acme, ws: Socket, model: str) -> None:
    said = [message("My name is Ada."), message("Count to 3.")]
    answer = httpx.post(
        f"{gateway.base_url}/responses/compact",
        json={"model": model, "input": said, "prompt_cache_key": "k"},
        headers=acme.headers,
        timeout=GIVE_UP_SECONDS,
    )
    compacted = answer.json()["output"]

    response = ws.turn(model, input=[*compacted, message("Go on.")], store=False)

    assert compacted[-1]["type"] == "compaction"
    assert text_of(response) == "You said: Go on."


def test_websocket_reconnect_store_false_recovery(
    gateway, acme, model: str, specified: dict[str, str]
) -> None:
    with opened(gateway, acme.headers) as before:
        old = before.turn(model, store=False)
    with opened(gateway, acme.headers) as after:
        after.create(model, previous_response_id=old["id"], store=False)
        error = after.error()
        recovered = after.turn(model, store=False)

    assert_specified([error], specified)
    assert error["error"]["code"] == "previous_response_not_found"
    assert recovered["status"] == "completed"


def test_websocket_previous_response_not_found(ws: Socket, model: str) -> None:
    refused = ws.refused(model, previous_response_id="resp_unknown")
    assert refused == (400, "previous_response_not_found")


def test_websocket_failed_continuation_evicts_cache(ws: Socket, model: str) -> None:
    first = ws.turn(model, store=False)
    again = {"previous_response_id": first["id"], "store": False}
    output = {"type": "function_call_output", "call_id": "call_none", "output": "42"}

    assert ws.refused(model, input=[output], **again) == (400, "invalid_request")
    assert ws.refused(model, **again) == (400, "previous_response_not_found")
