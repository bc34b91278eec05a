"""Requests with too much structure are refused before objects are made; large ones take turns."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import orjson
import pytest
from msgspec import structs

from gateway_project.lib.structure import Caps
from routing.protocols.shared import envelope
from tests.plugins.cases import cases
from tests.support import console_session, rows, stored
from tests.support.client import error_in
from tests.support.patience import GIVE_UP_SECONDS, until
from tests.support.sockets import opened
from tests.support.wire import Wire

MODELS = ("sandbox-chat", "sandbox-responses", "sandbox-anthropic")
HELLO = {"role": "user", "content": "Hello"}
MANY = b"[" + b"{}," * 250_000 + b"{}]"
MEGABYTE = 1024 * 1024


@pytest.fixture
def http(http_from_root: httpx.Client) -> httpx.Client:
    return http_from_root


@pytest.fixture
def bodies(gateway):
    """The worker's turns for large bodies, with limits of the test's own."""
    turns = gateway.worker.services.large_bodies
    usual = turns.limits

    def limit(**limits: Any) -> Any:
        turns.limits = structs.replace(usual, **limits)
        return turns

    yield limit
    turns.limits = usual


def refusal(answer: httpx.Response) -> dict[str, Any]:
    return {"status": answer.status_code, **error_in(answer.content)}


def test_every_route_that_reads_json_refuses_too_many_values_and_names_the_setting(
    gateway, acme, http
):
    conversation_id = http.post("/v1/conversations", json={}).json()["id"]
    completion_id = stored.completion(acme)["id"]
    places = {
        "/v1/chat/completions": b'{"model":"sandbox-chat","messages":%b}',
        "/v1/responses": b'{"model":"sandbox-chat","input":%b}',
        "/v1/responses/compact": b'{"model":"sandbox-chat","input":%b}',
        "/v1/responses/input_tokens": b'{"model":"sandbox-chat","input":%b}',
        "/v1/conversations": b'{"items":%b}',
        f"/v1/conversations/{conversation_id}": b'{"metadata":{},"x":%b}',
        f"/v1/conversations/{conversation_id}/items": b'{"items":%b}',
        f"/v1/chat/completions/{completion_id}": b'{"metadata":{},"x":%b}',
    }
    deep = b"[" * 300 + b"]" * 300
    for path, body in places.items():
        refused = refusal(http.post(path, content=body % MANY))
        assert (refused["status"], refused["code"]) == (400, "request_too_complex"), path
        assert "200000" in refused["message"]
        assert "TOLLGATE_MAX_JSON_VALUES" in refused["message"]
        nested = body[:-1] % b"[]" + b',"y":%b}' % deep
        too_deep = refusal(http.post(path, content=nested))
        assert too_deep["code"] == "request_too_complex", path
        assert "TOLLGATE_MAX_JSON_DEPTH" in too_deep["message"]
    assert not gateway.sandbox.calls


def test_a_frame_is_refused_like_a_body_and_the_connection_goes_on(gateway, acme):
    with opened(gateway, acme.headers) as socket:
        frame = b'{"type":"response.create","model":"sandbox-chat","input":%b}' % MANY
        socket.connection.send(frame.decode())
        assert socket.error()["error"]["code"] == "request_too_complex"
        socket.send({"type": "response.create", "model": "sandbox-chat", "input": "Hello"})
        assert socket.response()["status"] == "completed"


def test_items_parts_and_tools_have_caps_of_their_own(gateway, http, monkeypatch):
    caps = Caps(items=30, parts=60, tools=20)
    gateway.change(caps=caps)
    part = {"type": "input_text", "text": "a" * 100}
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    chat_part, chat_tool = (
        {"type": "text", "text": "a" * 100},
        {"type": "function", "function": {"name": "f"}},
    )
    space = {"type": "namespace", "name": "n", "tools": [tool] * 20}
    cases: list[tuple[str, dict[str, Any]]] = [
        ("items", {"input": [HELLO] * 31}),
        ("parts", {"input": [{"role": "user", "content": [part] * 31}] * 2}),
        ("tools", {"input": "Hi", "tools": [tool] * 21}),
        ("tools", {"input": "Hi", "tools": [space]}),
        ("tools", {"input": [HELLO, {"type": "additional_tools", "tools": [tool] * 21}]}),
        ("items", {"messages": [HELLO] * 31}),
        ("parts", {"messages": [{"role": "user", "content": [chat_part] * 31}] * 2}),
        ("tools", {"messages": [HELLO], "tools": [chat_tool] * 21}),
        ("tools", {"messages": [HELLO], "functions": [{"name": "f", "x": "a" * 10}] * 21}),
    ]
    for cap, body in cases:
        path = "/v1/chat/completions" if "messages" in body else "/v1/responses"
        refused = refusal(http.post(path, json={"model": "sandbox-chat", **body}))
        assert refused["code"] == "request_too_complex", (cap, body)
        assert f"TOLLGATE_MAX_{cap.upper()}" in refused["message"]
        assert str(getattr(caps, cap)) in refused["message"]
    at_the_cap = {"input": [{"role": "user", "content": [part]}] * 30, "tools": [tool] * 20}
    assert (
        http.post("/v1/responses", json={"model": "sandbox-chat", **at_the_cap}).status_code == 200
    )


@cases("model", MODELS)
def test_an_upstream_whose_json_has_too_much_structure_is_at_fault(
    gateway, http, model, monkeypatch
):
    monkeypatch.setattr(gateway.worker.services.transport, "caps", Caps(values=5, keys=5))
    whole = refusal(http.post("/v1/responses", json={"model": model, "input": "Hello"}))
    assert (whole["status"], whole["code"]) == (502, "upstream_malformed")
    asked = {"model": model, "messages": [HELLO], "stream": True}
    streamed = http.post("/v1/chat/completions", json=asked)
    assert streamed.status_code == 502 or "upstream_malformed" in streamed.text


def test_arguments_and_sealed_payloads_are_not_taken_apart_into_a_million_objects(gateway, http):
    many = MANY[:600_001].rstrip(b",") + b"]"
    call = {
        "type": "function_call",
        "call_id": "c",
        "name": "f",
        "arguments": (b'{"a":%b}' % many).decode(),
    }
    result = {"type": "function_call_output", "call_id": "c", "output": "x"}
    asked = {"model": "sandbox-anthropic", "input": [HELLO, call, result], "store": False}
    assert http.post("/v1/responses", json=asked).status_code == 200
    inside = b'["anthropic","sandbox",%b]' % many
    sealed = envelope.PREFIX + base64.urlsafe_b64encode(inside).decode()
    thought = {"type": "reasoning", "summary": [], "encrypted_content": sealed}
    refused = http.post("/v1/responses", json={**asked, "input": [HELLO, thought, HELLO]})
    assert error_in(refused.content)["code"] == "request_too_complex"


# What a request continues from


@pytest.mark.persistence
def test_a_history_is_bounded_in_bytes_items_and_structure(gateway, acme, http, settings):
    def ask(**fields: Any) -> httpx.Response:
        return http.post(
            "/v1/responses", json={"model": "sandbox-chat", "input": "Go on", **fields}
        )

    said = stored.user("x" * 3000, id="msg_long")
    first = stored.response(acme, said, output=[stored.assistant("y" * 3000)])
    conversation = http.post("/v1/conversations", json={"items": [said, said]}).json()
    reference = {"type": "item_reference", "id": "msg_long"}
    ways = [
        {"previous_response_id": first["id"]},
        {"conversation": conversation["id"]},
        {"input": [reference, reference]},
    ]
    for way in ways:
        assert ask(**way).status_code == 200, way
    settings.MAX_HISTORY_BYTES = 5000
    for way in ways:
        refused = refusal(ask(**way))
        assert (refused["status"], refused["code"]) == (400, "request_too_complex"), way
        assert "TOLLGATE_MAX_HISTORY_BYTES" in refused["message"]
    assert ask(input=[reference]).status_code == 200
    settings.MAX_HISTORY_BYTES = 100_000
    settings.CAPS = Caps(items=2)
    for way in (ways[0], ways[1], {"input": [reference] * 3}):
        assert "TOLLGATE_MAX_ITEMS" in error_in(ask(**way).content)["message"]
    settings.CAPS = Caps(values=5)
    for way in ways:
        assert error_in(ask(**way).content)["code"] == "request_too_complex", way


def test_what_a_socket_remembers_is_bounded_too(gateway, acme, settings):
    with opened(gateway, acme.headers) as socket:
        ask = {"type": "response.create", "model": "sandbox-chat", "store": False}
        socket.send({**ask, "input": "x" * 3000})
        first = socket.response()["id"]
        settings.MAX_HISTORY_BYTES = 1000
        socket.send({**ask, "input": "Go on", "previous_response_id": first})
        assert socket.error()["error"]["code"] == "request_too_complex"


# Turns


def test_large_bodies_of_one_key_take_turns_and_the_next_is_told_to_wait(
    gateway, acme, http, bodies
):
    turns = bodies(size=1000, per_key=1, wait_seconds=0.01)
    content = orjson.dumps({"model": "sandbox-chat", "input": "x" * 2000})
    key = f"authorization: Bearer {acme.secret}"
    sized = f"content-length: {len(content)}"
    for path in ("/v1/responses", "/v1/conversations"):
        with Wire(gateway.root_url) as slow:
            head = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", key, sized, "", ""]
            slow.send("\r\n".join(head).encode() + content[:500])
            until(lambda: turns.running_count == 1)
            for other in ("/v1/responses", "/v1/chat/completions", "/v1/conversations"):
                refused = http.post(other, content=content)
                assert error_in(refused.content)["code"] == "rate_limit_exceeded"
                assert refused.headers["retry-after"] == "1"
            chunked = http.post("/v1/responses", content=iter([content[:1500], content[1500:]]))
            assert error_in(chunked.content)["code"] == "rate_limit_exceeded"
            small = {"model": "sandbox-chat", "input": "Hello"}
            assert http.post("/v1/responses", json=small).status_code == 200
            bob = rows.customer("bob" + path[-3:])
            assert (
                httpx.post(
                    f"{gateway.root_url}{path}", headers=bob.headers, content=b"{}"
                ).status_code
                < 500
            )
            slow.send(content[500:])
            assert slow.answer().status in {200, 400}
        until(lambda: not turns.running_count)
        assert http.post("/v1/responses", content=content).status_code == 200


def test_a_small_body_of_very_many_items_takes_a_turn_as_a_large_one_does(
    gateway, acme, http, bodies
):
    turns = bodies(size=50_000, per_key=1, wait_seconds=0.01)
    text = {"type": "input_text", "text": "a"}
    tools = [{"type": "function", "name": f"f{n}"} for n in range(100)]
    dense: list[tuple[str, dict[str, Any]]] = [
        ("/v1/responses", {"input": [HELLO] * 100}),
        ("/v1/responses", {"input": [{"role": "user", "content": [text] * 100}]}),
        ("/v1/responses", {"input": "Hello", "tools": tools}),
        ("/v1/responses/input_tokens", {"input": [HELLO] * 100}),
        ("/v1/chat/completions", {"messages": [HELLO] * 100}),
    ]
    started = (
        f"POST /v1/responses HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {acme.secret}"
    )
    with Wire(gateway.root_url) as slow:
        slow.send(f"{started}\r\ncontent-length: 60000\r\n\r\n".encode())
        until(lambda: turns.running_count == 1)
        for path, body in dense:
            refused = refusal(http.post(path, json={"model": "sandbox-chat", **body}))
            assert (refused["status"], refused["code"]) == (429, "rate_limit_exceeded"), path
        with opened(gateway, acme.headers) as socket:
            create = {"type": "response.create", "model": "sandbox-chat"}
            socket.send({**create, "input": [HELLO] * 100})
            assert socket.error()["error"]["code"] == "rate_limit_exceeded"
        as_much_text = {"model": "sandbox-chat", "input": "a" * 6_000}
        assert http.post("/v1/responses", json=as_much_text).status_code == 200
    until(lambda: not turns.running_count)
    for path, body in dense:
        assert http.post(path, json={"model": "sandbox-chat", **body}).status_code == 200, path


def test_whoever_waits_for_a_turn_goes_on_when_it_comes(gateway, acme, http, bodies):
    turns = bodies(size=1000, per_key=1, wait_seconds=GIVE_UP_SECONDS)
    content = orjson.dumps({"model": "sandbox-chat", "input": "x" * 2000})
    head = [
        "POST /v1/responses HTTP/1.1",
        "host: 127.0.0.1",
        f"authorization: Bearer {acme.secret}",
    ]
    start = "\r\n".join([*head, f"content-length: {len(content)}", "", ""]).encode()
    with (
        Wire(gateway.root_url) as first,
        Wire(gateway.root_url) as second,
        Wire(gateway.root_url) as gone,
    ):
        first.send(start + content[:10])
        until(lambda: turns.running_count == 1)
        second.send(start + content)
        until(lambda: turns.waiting_count == 1)
        gone.send(start + content)
        until(lambda: turns.waiting_count == 2)
        gone.socket.close()
        first.send(content[10:])
        assert first.answer().status == second.answer().status == 200
    until(lambda: not turns.running_count and not turns.waiting_count)


def test_what_django_serves_takes_no_endless_body_and_no_stranger_s_large_one(
    gateway, acme, monkeypatch
):
    gateway.change(max_body_bytes=5000)
    patient = gateway.worker.services.body_stall_seconds
    key = f"authorization: Bearer {acme.secret}"
    for path in ("/v1/conversations", "/console/login/"):
        head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{key}\r\n"
        with Wire(gateway.root_url) as wire:
            wire.send(f"{head}content-length: 5001\r\n\r\n".encode())
            assert wire.answer().status == 413
        with Wire(gateway.root_url) as wire:
            chunk = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
            wire.send(f"{head}transfer-encoding: chunked\r\n\r\n".encode() + chunk * 6)
            assert wire.answer().status == 413
        gateway.change(body_stall_seconds=0.05)
        with Wire(gateway.root_url) as wire:
            wire.send(f"{head}content-length: 100\r\n\r\nx".encode())
            assert wire.answer().status == 400
        gateway.change(body_stall_seconds=patient)
    gateway.change(max_body_bytes=10**8)
    with Wire(gateway.root_url) as wire:
        wire.send(
            b"POST /v1/conversations HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9999999\r\n\r\n"
        )
        assert wire.answer().status == 401


def test_a_form_is_as_large_as_its_sender_may_send(gateway):
    """Django makes eighty times the bytes of a form of escapes, before it looks who sent it."""
    page, known = "/console/tenants/apikey/add/", console_session.operator().headers
    escapes, upload = ("content-type", "application/x-www-form-urlencoded"), "multipart/form-data"
    kilobyte, large = b"a=" + b"%41" * 340 + b"&", ("content-type", f"{upload}; boundary=b")
    whole = b'--b\r\ncontent-disposition: form-data; name="f"; filename="f"\r\n\r\n%b\r\n--b--'
    sent: list[tuple[tuple[str, str], dict[str, str], bytes, int]] = [
        (escapes, {}, kilobyte * 60, 403),
        (escapes, {}, kilobyte * 70, 413),
        (escapes, {"cookie": "sessionid=made-up"}, kilobyte * 70, 413),
        (large, {}, whole % (b"x" * 70_000), 413),
        (escapes, known, kilobyte * 70, 403),  # without Django's own proof against forgery
        (escapes, known, kilobyte * 1_100, 413),
        (large, known, whole % (b"x" * 2 * MEGABYTE), 403),
        (large, known, whole % (b"x" * 5 * MEGABYTE), 413),
    ]
    for kind, who, content, status in sent:
        for pieces in (content, iter([content[:1000], content[1000:]])):
            headers = {**who, kind[0]: kind[1]}
            answer = httpx.post(f"{gateway.root_url}{page}", headers=headers, content=pieces)
            assert answer.status_code == status, (kind, who, len(content))
