"""Every answer below /v1 and /openai/v1 has the envelope, an x-request-id and a line in the log."""

from __future__ import annotations

import logging
import socket
from typing import Any
from unittest.mock import patch

import httpx
import orjson
import pytest
from django.contrib.auth.models import User

from gateway_project.lib import hosts
from gateway_project.lib.client_address import TrustedProxies
from gateway_project.lib.log import ConsoleFormatter, JsonFormatter, RequestLog
from responses_api.calls.dispatch import Dispatch
from tenants.keys import key_format
from tenants.keys.doorkeeper import Doorkeeper
from tests.support import console_session
from tests.support.client import client_of
from tests.support.live import LiveGateway
from tests.support.patience import GIVE_UP_SECONDS, until
from tests.support.rows import Customer

Json = dict[str, Any]
UPGRADE = "connection: Upgrade\r\nupgrade: websocket\r\n"
HANDSHAKE = f"{UPGRADE}sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
HOST = "host: localhost\r\n"
KEY = f"{HOST}authorization: Bearer {{key}}\r\n"
EVIL = "host: evil.example\r\n"

# Method, path, headers, status and code of the answer; {key} is a good key.
REFUSED = [
    ("GET", "/v1/nothing", HOST, 404, "not_found"),
    ("GET", "/v1", HOST, 404, "not_found"),
    ("GET", "/openai/v1", HOST, 404, "not_found"),
    ("PUT", "/openai/v1/responses", HOST, 405, "method_not_allowed"),
    ("DELETE", "/v1/models", KEY, 405, "method_not_allowed"),
    ("GET", "/v1/models", HOST, 401, "invalid_api_key"),
    ("POST", "/v1/responses", f"{HOST}content-length: 2\r\n", 401, "invalid_api_key"),
    ("GET", "/v1/responses/resp_1?stream=true", HOST, 401, "invalid_api_key"),
    ("POST", "/v1/chat/completions", f"{EVIL}content-length: 2\r\n", 400, "host_not_allowed"),
    ("GET", "/v1/models", EVIL, 400, "host_not_allowed"),
    ("GET", "/v1/nothing", EVIL, 400, "host_not_allowed"),
    ("GET", "/v1/models", HOST + EVIL, 400, "host_not_allowed"),
    ("GET", "/v1/models", "", 400, "host_not_allowed"),
    ("GET", "/v1/models", f"{HOST}x: {'a' * 70_000}\r\n", 431, "headers_too_large"),
    ("POST", "/v1/conversations", f"{HOST}content-length: 99999999999\r\n", 413, "request_too_large"),
    ("POST", "/v1/responses", f"{KEY}content-length: 99999999999\r\n", 413, "request_too_large"),
    ("POST", "/v1/conversations", f"{HOST}transfer-encoding: chunked\r\n", 401, "invalid_api_key"),
    ("POST", "/v1/conversations", f"{KEY}transfer-encoding: chunked\r\n", 413, "request_too_large"),
    ("POST", "/v1/responses", f"{HOST}transfer-encoding: rubbish\r\n", 400, "invalid_http"),
    ("GET\0", "/v1/responses", HOST, 400, "invalid_http"),
    ("CONNECT", "/v1/responses", HOST, 400, "invalid_http"),
    ("GET", "/v1/nothing", HOST + HANDSHAKE, 404, "not_found"),
    ("GET", "/v1/responses", HOST + HANDSHAKE, 401, "invalid_api_key"),
    ("GET", "/v1/responses", EVIL + HANDSHAKE, 400, "host_not_allowed"),
    ("GET", "/v1/responses", HOST + UPGRADE, 400, "invalid_request"),
    ("GET", "/v1/responses", f"{HOST}{HANDSHAKE}x: {'a' * 9000}\r\n", 431, "headers_too_large"),
]  # fmt: skip


@pytest.fixture
def lines(gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> list[Json]:
    """The lines that the gateway logs of requests."""
    written: list[Json] = []
    monkeypatch.setattr(gateway.worker.services.call_log, "write", written.append)
    return written


def raw(gateway: LiveGateway, content: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to these bytes."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=GIVE_UP_SECONDS) as plain:
        plain.sendall(content.encode())
        received = b""
        while b"\r\n\r\n" not in received or len(received) < _whole(received):
            piece = plain.recv(65536)
            if not piece:
                break
            received += piece
    head, _, body = received.decode().partition("\r\n\r\n")
    status, *rest = head.split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in rest)
    return int(status.split()[1]), headers, body.encode()


def _whole(received: bytes) -> int:
    head, end, _ = received.lower().partition(b"\r\n\r\n")
    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return len(head) + len(end) + int(length or 0)


def test_every_refusal_has_the_envelope_an_id_and_a_line(
    gateway: LiveGateway, acme: Customer, lines: list[Json], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.change(max_body_bytes=20_000)
    for method, path, headers, wanted_status, wanted_code in REFUSED:
        case = f"{method} {path} {headers[:120]!r}"
        lines.clear()
        request = f"{method} {path} HTTP/1.1\r\n{headers.format(key=acme.secret)}\r\n"
        if headers.endswith("chunked\r\n"):
            request += f"4000\r\n{'a' * 0x4000}\r\n" * 2
        status, answered, body = raw(gateway, request)
        assert answered["content-type"].startswith("application/json"), case
        error = orjson.loads(body)["error"]
        assert (status, error["code"]) == (wanted_status, wanted_code), case
        assert set(error) == {"message", "type", "param", "code"}, case
        until(lambda: bool(lines))  # it may be written after the answer
        (line,) = (line for line in lines if line["request_id"] == answered["x-request-id"])
        assert (line["http_status"], line["error"]) == (status, error["code"]), case
        assert line["client"] == "127.0.0.1", case
        if line["event"] == "request" and "\0" not in method:
            assert (line["method"], line["path"]) == (method, path.partition("?")[0]), case
        if wanted_code == "host_not_allowed":
            assert "TOLLGATE_ALLOWED_HOSTS" in error["message"], case


def test_what_is_answered_well_has_a_line_too(
    gateway: LiveGateway, acme: Customer, lines: list[Json]
) -> None:
    with client_of(gateway, acme, "") as http:
        answer = http.get("/v1/models")
        made = http.post("/v1/responses", json={"model": "sandbox-chat", "input": "Hi"})
        http.get(f"/v1/responses/{made.json()['id']}?stream=true")
        http.get("/v1/responses/resp_none")
    models, call, follow, missing = lines
    request_id = answer.headers["x-request-id"]
    assert models == {
        "event": "request", "request_id": request_id, "client": "127.0.0.1",
        "trace_id": request_id.removeprefix("req_"), "span_id": request_id[-16:],
        "method": "GET", "path": "/v1/models", "tenant": "acme", "key": acme.key.public_id,
        "account": None, "http_status": 200, "error": None, "duration_ms": models["duration_ms"],
        "bytes_out": len(answer.content),
    }  # fmt: skip
    assert (call["event"], call["client"]) == ("call", "127.0.0.1")
    assert (call["bytes_in"], call["bytes_out"]) == (
        int(made.request.headers["content-length"]),
        len(made.content),
    )
    assert 0 < call["upstream_ms"] < call["duration_ms"]
    assert (follow["key"], follow["path"]) == (
        acme.key.public_id,
        f"/v1/responses/{made.json()['id']}",
    )
    assert (missing["key"], missing["http_status"], missing["error"]) == (
        acme.key.public_id, 404, "not_found",
    )  # fmt: skip


def test_the_client_is_seen_through_trusted_proxies(
    gateway: LiveGateway, acme: Customer, lines: list[Json], monkeypatch: pytest.MonkeyPatch
) -> None:
    doorkeeper = Doorkeeper(
        gateway.worker.services.gate,
        gateway.worker.authenticator,
        trusted_proxies=TrustedProxies([hosts.network("127.0.0.0/8")]),
        all_traffic=(),
        failures=(),
    )
    gateway.change(doorkeeper=doorkeeper)
    for forwarded in ("203.0.113.7", "unknown", "~, 203.0.113.7", "203.0.113.7:1"):
        headers = [*acme.headers.items(), ("x-forwarded-for", forwarded)]
        for method, path in (("GET", "models"), ("POST", "responses")):
            url = f"{gateway.base_url}/{path}"
            answer = httpx.request(method, url, headers=headers, json={})
            assert answer.status_code in {200, 400}, forwarded
    expected = ["203.0.113.7", "127.0.0.1", "203.0.113.7", "203.0.113.7"]
    assert [line["client"] for line in lines] == [address for address in expected for _ in range(2)]


def test_wrong_keys_are_logged_by_their_public_part_and_not_without_end(
    gateway: LiveGateway, acme: Customer, lines: list[Json], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = key_format.new_key("Abcdefghij").reveal()
    headers = {"authorization": f"Bearer {wrong}"}
    monkeypatch.setattr(RequestLog, "STRANGERS_BURST", 4)
    monkeypatch.setattr(RequestLog, "STRANGERS_PER_SECOND", 1e-6)
    gateway.reset()
    with client_of(gateway, None, **headers) as http:
        for _ in range(5):
            assert http.get("/models").status_code == 401
            assert http.post("/responses", json={}).status_code == 401
        assert [line["claimed_key"] for line in lines] == ["Abcdefghij"] * 4
        assert wrong not in str(lines)
        assert http.get("/models", headers=acme.headers).status_code == 200
    assert len(lines) == 5  # whoever has a key is always logged
    gateway.worker.services.request_log.strangers._full_at = 0
    raw(gateway, f"GET /v1/models HTTP/1.1\r\n{EVIL}\r\n")
    assert lines[-1]["left_out"] == 6


def test_an_unlisted_host_is_refused_alike_but_for_health_checks(gateway: LiveGateway) -> None:
    evil = {"host": "evil.example"}
    for path in ("/", "/console/", "/console/accounts/login/", "/static/admin/css/base.css"):
        answer = httpx.get(f"{gateway.root_url}{path}", headers=evil)
        assert (answer.status_code, answer.headers["content-type"][:10]) == (400, "text/plain")
        assert "list it in TOLLGATE_ALLOWED_HOSTS" in answer.text
        assert answer.headers["x-request-id"]
    for path in ("/healthz", "/readyz"):
        assert httpx.get(f"{gateway.root_url}{path}", headers=evil).status_code == 200


def test_a_form_from_an_origin_that_is_not_trusted_is_told_which_setting_trusts_it(
    gateway: LiveGateway,
) -> None:
    User.objects.create_superuser("operator", password="right password")
    with client_of(gateway, None, "") as http:
        token = http.get("/console/accounts/login/").cookies["csrftoken"]
        form = {"login": "operator", "password": "x", "csrfmiddlewaretoken": token}
        answer = http.post(
            "/console/accounts/login/", data=form, headers={"origin": "https://gate.example"}
        )
        assert answer.status_code == 403
        assert "TOLLGATE_TRUSTED_ORIGINS=https://gate.example" in answer.text
        del form["csrfmiddlewaretoken"]
        answer = http.post("/console/accounts/login/", data=form)
        assert (answer.status_code, "reload the page" in answer.text) == (403, True)


def test_pages_and_what_they_consist_of_have_a_line_without_what_lets_somebody_in(
    gateway: LiveGateway, as_stranger: httpx.Client, lines: list[Json]
) -> None:
    reset = "/console/accounts/password/reset/key"
    for path in (
        "/healthz",
        "/console/login/?next=/x",
        "/console/invitations/tokencanary7/",
        f"{reset}/1-keycanary7-d41d8cd98f/",
    ):
        as_stranger.get(path)
    assert [(line["event"], line["path"]) for line in lines] == [
        ("request", "/console/login/"),
        ("request", "/console/invitations/***/"),
        ("request", f"{reset}/***/"),
    ]
    person = console_session.operator()
    as_stranger.get("/console/", headers=person.headers)
    assert lines[-1]["account"] == str(person.user.pk)
    assert lines[-1]["http_status"] == 200


def test_pages_of_strangers_do_not_hide_who_tries_keys(
    gateway: LiveGateway, as_stranger: httpx.Client, lines: list[Json]
) -> None:
    visitors = gateway.worker.services.request_log.visitors
    while visitors.take():
        pass
    as_stranger.get("/console/login/")
    as_stranger.get("/v1/models")
    assert [line["path"] for line in lines] == ["/v1/models"]
    visitors._full_at = 0
    as_stranger.get("/console/login/")
    assert lines[-1]["left_out"] > 0


def test_every_line_that_is_logged_for_a_request_says_so(
    gateway: LiveGateway, acme: Customer
) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
    formatter, told = JsonFormatter(), []

    class Sink(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(orjson.loads(formatter.format(record)))

    sink = Sink()
    logging.getLogger("tollgate.exchange").addHandler(sink)
    try:
        with (
            client_of(gateway, acme, traceparent=parent) as http,
            patch.object(Dispatch, "first_output", side_effect=ZeroDivisionError),
        ):
            answer = http.post("/responses", json={"model": "sandbox-responses", "input": "Hi"})
    finally:
        logging.getLogger("tollgate.exchange").removeHandler(sink)
    assert answer.status_code == 500
    (line,) = told
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert line["span_id"] == answer.headers["x-request-id"][-16:]
    people = ConsoleFormatter()
    record = logging.makeLogRecord({"msg": "outside of any request"})
    assert "request_id" not in people.format(record)
