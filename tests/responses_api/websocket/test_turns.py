"""Turns over a WebSocket: the handshake, frames in, frames out."""

from __future__ import annotations

import json
import socket as sockets
from typing import Any

import orjson
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway_project.sandbox.faults import PREFIX
from responses_api.models import StoredResponse
from tests.plugins.cases import cases
from tests.support import grammar, rows
from tests.support.patience import until
from tests.support.sockets import opened, text_of

Json = dict[str, Any]

PREFIXES = ("/v1", "/openai/v1")
PROTOCOLS = ("chat", "responses", "anthropic")
each_protocol = cases("protocol", PROTOCOLS)
FUNCTION = {"type": "function", "name": "look_up", "parameters": {"type": "object"}}


@pytest.fixture
def fault(gateway):
    """An alias of a fault, over a protocol."""

    def made(name: str, protocol: str = "responses") -> str:
        provider = rows.provider(protocol, gateway.sandbox.base_url, f"{name}-{protocol}")
        return rows.alias(f"{name}-{protocol}", (provider, PREFIX + name)).name

    return made


# The handshake


@cases("prefix", PREFIXES)
@cases("slash", ["", "/"])
def test_both_prefixes_are_served(gateway, acme, prefix, slash):
    with opened(gateway, acme.headers, f"{prefix}/responses{slash}") as ws:
        assert ws.turn()["status"] == "completed"


def test_the_handshake_tells_the_connections_id(gateway, ws):
    assert ws.id.startswith("req_")


def test_compression_is_not_negotiated(gateway, acme):
    with opened(gateway, acme.headers, compression="deflate") as ws:
        assert "sec-websocket-extensions" not in ws.handshake
        assert ws.turn()["status"] == "completed"


def refused(gateway, headers: dict[str, str], path: str = "/v1/responses") -> tuple[int, Json]:
    """Status and error of a handshake that is refused."""
    with pytest.raises(InvalidStatus) as caught, opened(gateway, headers, path):
        pass
    response = caught.value.response
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"].startswith("req_")
    return response.status_code, orjson.loads(response.body)["error"]


@cases("headers", [{}, {"authorization": "Bearer tg_live_no"}], ids=["none", "bad"])
def test_a_bad_key_is_refused_like_everywhere(gateway, outcomes, headers):
    status, error = refused(gateway, headers)
    assert (status, error["code"]) == (401, "invalid_api_key")
    (line,) = outcomes()
    assert (line["event"], line["status"], line["http_status"]) == ("call", "refused", 401)


def test_x_api_key_is_taken_too(gateway, acme):
    with opened(gateway, {"x-api-key": acme.secret}) as ws:
        assert ws.turn()["status"] == "completed"


def test_a_key_without_the_scope_is_refused(gateway, acme):
    acme.key.scopes = ["models"]
    acme.key.save()
    status, error = refused(gateway, acme.headers)
    assert (status, error["code"]) == (403, "insufficient_scope")


def test_a_draining_server_refuses(gateway, acme):
    gateway.call(gateway.worker.services.registry.start_draining)
    status, error = refused(gateway, acme.headers)
    assert (status, error["code"]) == (503, "server_shutting_down")


def test_there_is_no_websocket_elsewhere(gateway, acme):
    status, error = refused(gateway, acme.headers, "/v1/chat/completions")
    assert (status, error["code"]) == (404, "not_found")


# What is sent


@each_protocol
def test_every_kind_of_answer_comes_as_over_http(ws, protocol):
    model = f"sandbox-{protocol}"
    called = ws.turn(model, input="[tool] weather?", tools=[FUNCTION], store=False)
    (call,) = called["output"]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "Rain."}
    told = ws.turn(
        model, input=[output], tools=[FUNCTION], previous_response_id=called["id"], store=False
    )
    thought = ws.turn(model, input="[reason] Why?")

    assert call["name"] == "look_up"
    assert told["output"][0]["content"][0]["text"] == "The tool answered: Rain."
    assert [item["type"] for item in thought["output"]] == ["reasoning", "message"]


@cases("extra", [{"stream": True}, {"stream": False}, {"background": False}])
def test_what_means_nothing_here_is_tolerated(ws, extra):
    assert ws.turn(**extra)["status"] == "completed"


def test_only_what_belongs_to_the_request_goes_upstream(gateway, ws):
    ws.turn(stream=True, generate=True, stream_id=None, metadata={"a": "b"})
    gateway.idle()
    assert gateway.sandbox.calls[-1].body == {
        "model": "sandbox-1",
        "input": "Hello",
        "metadata": {"a": "b"},
        "store": False,
        "stream": True,
    }


def test_what_the_handshake_says_of_its_moment_goes_to_no_upstream(gateway, acme):
    headers = {
        **acme.headers,
        "openai-beta": "responses_websockets=2026-02-06",
        "x-codex-turn-metadata": '{"request_kind":"prewarm"}',
        "x-codex-window-id": "w1",
    }
    with opened(gateway, headers) as ws:
        ws.turn()
    gateway.idle()
    sent = gateway.sandbox.calls[-1].headers
    assert sent["x-codex-window-id"] == "w1"
    assert not {"openai-beta", "x-codex-turn-metadata", "sec-websocket-key"} & set(sent)


BAD_FRAMES = {
    "no JSON": (b'{"type":', "invalid_json", None),
    "no object": (b"[1]", "invalid_request", None),
    "deep inside": (b'{"a":' + b"[" * 100_000, "invalid_json", None),
    "no type": (b"{}", "invalid_request", "type"),
    "unknown type": (b'{"type":"session.update"}', "invalid_request", "type"),
    "no model": (b'{"type":"response.create"}', "invalid_request", "model"),
    "bad input": (b'{"type":"response.create","model":"m","input":7}', "invalid_request", "input"),
    "background": (
        b'{"type":"response.create","model":"sandbox-chat","background":true}',
        "invalid_request",
        "background",
    ),
    "generate": (
        b'{"type":"response.create","model":"sandbox-chat","generate":"no"}',
        "invalid_request",
        "generate",
    ),
    "no such model": (b'{"type":"response.create","model":"m"}', "model_not_found", "model"),
    "steer what": (b'{"type":"response.steer"}', "invalid_request", "previous_response_id"),
}


@cases("name", BAD_FRAMES)
def test_a_bad_frame_is_answered_and_the_connection_stays(ws, name):
    frame, code, param = BAD_FRAMES[name]
    ws.connection.send(frame.decode())

    error = ws.error()

    assert error["status"] in {400, 404}
    assert (error["error"]["code"], error["error"]["param"]) == (code, param)
    assert error["error"]["headers"]["x-request-id"].startswith("req_")
    assert "stream_id" not in error
    assert ws.turn()["status"] == "completed"


def test_a_binary_frame_is_answered_and_the_connection_stays(ws):
    ws.connection.send(b'{"type":"response.create"}')
    assert ws.error()["error"]["code"] == "invalid_request"
    assert ws.turn()["status"] == "completed"


def test_an_error_comes_in_its_turn_and_not_into_the_answer_before(ws):
    ws.create(input="[chunks=20] [pace=5]")
    ws.connection.send("no JSON")
    ws.create()

    assert ws.response()["status"] == "completed"
    assert ws.error()["error"]["code"] == "invalid_json"
    assert ws.response()["status"] == "completed"


# What is answered


@each_protocol
def test_an_upstreams_error_is_a_frame_with_its_status(outcomes, ws, fault, protocol):
    ws.create(fault("429-retry-after", protocol))
    error = ws.error()
    assert (error["status"], error["error"]["code"]) == (429, "rate_limit_exceeded")
    assert error["error"]["headers"]["retry-after"] == "2"
    (line,) = outcomes()
    assert (line["status"], line["http_status"]) == ("failed", 429)
    assert line["request_id"] == error["error"]["headers"]["x-request-id"]


@each_protocol
def test_a_stream_that_fails_midway_ends_with_response_failed(ws, fault, protocol):
    ws.create(fault("cut", protocol))
    assert ws.response()["status"] == "failed"
    assert ws.turn()["status"] == "completed"


def test_a_silent_upstream_is_announced_and_keep_alives_are_left_to_pings(gateway, acme):
    gateway.limit(commit=0.05, keepalive=0.05)
    with opened(gateway, acme.headers) as ws:
        ws.create("sandbox-chat", input="[wait=600000] Hello")
        events = [ws.receive()]
        until(lambda: len(gateway.sandbox.calls) == 1)
        gateway.sandbox.hurry()
        events += ws.events()
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert grammar.check(events)["status"] == "completed"


def test_each_turn_is_logged_like_a_call_and_says_by_which_socket(gateway, outcomes, ws):
    ws.turn("sandbox-chat")
    ws.refused("nothing")
    completed, refused = outcomes()
    connection = ws.id
    for line in (completed, refused):
        assert (line["event"], line["door"], line["tenant"]) == ("call", "responses", "acme")
        assert line["socket"] == connection != line["request_id"]
    assert (completed["status"], completed["usage_source"]) == ("completed", "provider")
    assert (refused["status"], refused["error"]) == ("refused", "model_not_found")


def test_a_connection_is_logged_when_it_ends(gateway, acme, outcomes):
    with opened(gateway, acme.headers) as ws:
        ws.turn()
    until(lambda: len(gateway.worker.services.registry.sockets) == 0)
    (line,) = [line for line in outcomes() if line["event"] == "socket"]
    assert (line["tenant"], line["turns"], line["code"]) == ("acme", 1, 1000)


def test_steering_is_refused_at_once_with_its_input(gateway, ws):
    ws.create(input="[chunks=50] [pace=600000]")
    created = ws.receive()
    steer = {"previous_response_id": created["response"]["id"], "input": "Shorter, please."}
    ws.send({"type": "response.steer", **steer})

    events = [ws.receive()]
    while events[-1]["type"] != "response.steer.failed":
        events.append(ws.receive())
    failed = events.pop()
    until(lambda: len(gateway.sandbox.calls) == 1)
    gateway.sandbox.hurry()
    events += ws.events()

    assert failed["steer"] == steer
    assert failed["error"]["code"] == "steering_not_supported"
    assert grammar.check([created, *events])["status"] == "completed"


# generate: false


@each_protocol
@cases("store", [False, True])
def test_a_turn_without_generation_asks_nobody_and_can_be_continued(
    gateway, outcomes, ws, protocol, store
):
    model = f"sandbox-{protocol}"
    ws.create(model, input="Be brief.", generate=False, store=store, tools=[FUNCTION])
    created, completed = ws.events()

    assert (created["type"], completed["type"]) == ("response.created", "response.completed")
    prepared = grammar.check([created, completed])
    assert (prepared["output"], prepared["usage"]["total_tokens"]) == ([], 0)
    assert prepared["store"] is store
    assert StoredResponse.objects.filter(id=prepared["id"]).exists() is store
    assert len(gateway.sandbox.calls) == 0

    ws.turn(model, input="Hi", previous_response_id=prepared["id"], store=store)

    gateway.idle()
    sent = str(gateway.sandbox.calls[-1].body)
    assert sent.index("Be brief.") < sent.index("Hi")
    assert [line["status"] for line in outcomes()] == ["completed", "completed"]


def test_a_turn_without_generation_is_checked_like_any(ws):
    assert ws.refused("nothing", generate=False) == (404, "model_not_found")
    assert ws.refused(generate=False, input=7) == (400, "invalid_request")


def test_only_a_turn_without_generation_may_have_nothing_to_answer(gateway, ws):
    for protocol in ("chat", "responses", "anthropic"):
        ws.create(f"sandbox-{protocol}", input=[], generate=False, store=False)
        prepared = grammar.check(ws.events())
        again = {"input": None, "previous_response_id": prepared["id"], "store": False}
        cases: tuple[dict[str, Any], ...] = ({"input": None}, {"input": []}, again)
        for fields in cases:
            ws.create(f"sandbox-{protocol}", **fields)
            error = ws.error()
            assert (error["status"], error["error"]["param"]) == (400, "input")
    assert len(gateway.sandbox.calls) == 0


def test_nothing_is_written_that_is_nested_too_deep(ws):
    deep: Any = {}
    for _ in range(300):
        deep = {"a": deep}
    steer = {"type": "response.steer", "previous_response_id": "resp_1", "input": [deep]}
    ws.connection.send(json.dumps(steer))
    assert ws.error()["error"]["code"] == "request_too_complex"

    tool = {**FUNCTION, "parameters": deep}
    frame = {"type": "response.create", "model": "sandbox-responses", "generate": False}
    ws.connection.send(json.dumps({**frame, "tools": [tool]}))
    assert ws.error()["error"]["code"] == "request_too_complex"


# Size


def test_a_frame_as_large_as_a_body_may_be_is_served(gateway, ws):
    limit = 32 * 1024 * 1024
    frame = {"type": "response.create", "model": "sandbox-chat", "store": False}
    said = [{"role": "user", "content": ""}, {"role": "user", "content": "Hello"}]
    said[0]["content"] = "x" * (limit - len(orjson.dumps({**frame, "input": said})))
    ws.send({**frame, "input": said})
    assert text_of(ws.response()) == "You said: Hello"


@cases("pieces", [1, 40], ids=["one frame", "fragments"])
def test_a_larger_message_closes_the_connection_and_says_why(gateway, ws, pieces):
    piece = "x" * (40 * 1024 * 1024 // pieces)
    message = [piece] * pieces if pieces > 1 else piece

    def ask() -> None:
        ws.connection.send(message)
        ws.connection.recv(20)

    with pytest.raises(ConnectionClosed) as caught:
        ask()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009


def test_a_message_that_stops_half_way_is_given_up(gateway, acme, settings):
    settings.BODY_STALL_SECONDS = 0.1
    with opened(gateway, acme.headers) as ws:
        raw = sockets.socket(fileno=sockets.dup(ws.connection.socket.fileno()))
        raw.sendall(b"\x81\xfe\xff\xff....half")  # a text frame of 65535 bytes that never comes
        with pytest.raises(ConnectionClosed) as caught:
            ws.connection.recv(20)
        raw.close()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1008
