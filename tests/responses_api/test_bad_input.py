"""Nothing a client sends yields a 500: bad bodies, bad keys, bad everything gets a 4xx in OpenAI's words."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import string
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.db.backends.utils import CursorWrapper
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway_project.lib import clock
from tenants.keys import keys
from tenants.models import ApiKey, KeySecret, Tenant
from tests.plugins.cases import cases
from tests.plugins.tiers import by_tier, sampled
from tests.support import rows
from tests.support.client import error_in, error_of
from tests.support.patience import GIVE_UP_SECONDS

Json = dict[str, Any]

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
MODELS = "/v1/models"
NATIVE = {CHAT: "sandbox-chat", RESPONSES: "sandbox-responses"}
HELLO = {"role": "user", "content": "Hello"}
BODIES: dict[str, Json] = {CHAT: {"messages": [HELLO]}, RESPONSES: {"input": "Hello"}}
ROUTES = [("POST", CHAT), ("POST", RESPONSES), ("GET", MODELS), ("GET", f"{MODELS}/sandbox-chat")]
MEGABYTE = 1024 * 1024
GENERATED = by_tier(default=50, ci=120, proof=10_000)


@pytest.fixture
def connection(gateway):
    """A plain connection that is kept alive; raises TimeoutError where nothing comes."""
    plain = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=GIVE_UP_SECONDS)
    with contextlib.closing(plain):
        yield plain


# Bodies that are not JSON objects


@cases("path", BODIES)
@cases(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{'model': 1}",
        b'{"model": NaN}',
        b'{"model": "a",}',
        b'{"model": "\xff"}',
        b'{"model": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"model=a&input=b",
    ],
)
def test_a_body_that_is_not_json_is_refused(http_from_root, path, body):
    assert error_of(http_from_root.post(path, content=body)) == (400, "invalid_json", None)


@cases("path", BODIES)
@cases("body", [b"null", b"[]", b'"text"', b"1", b"true"])
def test_a_body_that_is_no_object_is_refused(http_from_root, path, body):
    assert error_of(http_from_root.post(path, content=body)) == (400, "invalid_request", None)


@cases("path", BODIES)
def test_the_content_type_does_not_matter(http_from_root, path):
    body = orjson.dumps({"model": NATIVE[path], **BODIES[path]})
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "nonsense", ""):
        headers = {"content-type": content_type}
        assert http_from_root.post(path, content=body, headers=headers).status_code == 200


@cases("path", BODIES)
def test_a_body_nested_too_deep_is_the_clients_mistake(http_from_root, path):
    body = b'{"model":"%b","x":%b,' % (NATIVE[path].encode(), b"[" * 400 + b"]" * 400)
    body += orjson.dumps(BODIES[path])[1:]
    assert error_of(http_from_root.post(path, content=body))[0] == 400


@cases("path", BODIES)
def test_numbers_of_any_size_are_no_trouble(http_from_root, path):
    body = b'{"model":"%b","x":[18446744073709551616,1e308,-0.0,1e-400],' % NATIVE[path].encode()
    body += orjson.dumps(BODIES[path])[1:]
    assert http_from_root.post(path, content=body).status_code == 200


@pytest.mark.persistence
@cases("path", BODIES)
def test_a_model_name_may_be_any_text(http_from_root, path):
    for name in ("\0", "a\0b", "\u202e", "é" * 400, "x" * 100_000, "%00", "' OR 1=1 --", "../../x"):
        response = http_from_root.post(path, json={"model": name, **BODIES[path]})
        assert error_of(response) == (404, "model_not_found", "model")
        assert len(response.content) < 2000


@pytest.mark.persistence
def test_a_model_in_the_address_may_be_any_text(http_from_root):
    for name in ("%00", "a%00b", "%ff", "%ED%A0%80", "%2e%2e%2f", "é" * 400, "x" * 8000, "'--"):
        assert error_of(http_from_root.get(f"{MODELS}/{name}")) == (404, "model_not_found", "model")


# Wrong types, by the exact field


def message(**fields: Any) -> Json:
    return {"role": "user", "content": "hi", **fields}


def part(**fields: Any) -> Json:
    return {"input": [HELLO, HELLO, message(content=[{"type": "input_text", **fields}])]}


WRONG_RESPONSES: list[tuple[Json, str]] = [
    ({"model": None}, "model"),
    ({"model": 5}, "model"),
    ({"model": ""}, "model"),
    ({"model": ["a"]}, "model"),
    ({"input": 5}, "input"),
    ({"input": {}}, "input"),
    ({"input": ["text"]}, "input[0]"),
    ({"input": [HELLO, None]}, "input[1]"),
    ({"input": [{}]}, "input[0].type"),
    ({"input": [{"type": 5}]}, "input[0].type"),
    ({"input": [message(role="robot")]}, "input[0].role"),
    ({"input": [{"type": "message", "content": "x"}]}, "input[0].role"),
    ({"input": [message(content=None)]}, "input[0].content"),
    ({"input": [message(content=5)]}, "input[0].content"),
    ({"input": [message(content=[5])]}, "input[0].content[0]"),
    ({"input": [message(content=[{"text": "x"}])]}, "input[0].content[0].type"),
    (part(text=5), "input[2].content[0].text"),
    (part(image_url={"url": "x"}), "input[2].content[0].image_url"),
    (part(file_id=1), "input[2].content[0].file_id"),
    ({"input": [{"type": "function_call", "name": "f", "arguments": ""}]}, "input[0].call_id"),
    (
        {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}]},
        "input[0].arguments",
    ),
    ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
    (
        {"input": [{"type": "function_call_output", "call_id": "c", "output": 5}]},
        "input[0].output",
    ),
    ({"input": [{"type": "custom_tool_call", "call_id": "c", "name": "f"}]}, "input[0].input"),
    ({"input": [{"type": "reasoning", "summary": "x"}]}, "input[0].summary"),
    ({"input": [{"type": "compaction"}]}, "input[0].encrypted_content"),
    ({"instructions": 5}, "instructions"),
    ({"stream": "yes"}, "stream"),
    ({"stream": 1}, "stream"),
    ({"stream_options": {"include_obfuscation": "x"}}, "stream_options.include_obfuscation"),
    ({"include": "x"}, "include"),
    ({"include": ["a", 5]}, "include[1]"),
    ({"tools": {}}, "tools"),
    ({"tools": ["x"]}, "tools[0]"),
    ({"tools": [{}]}, "tools[0].type"),
    ({"tools": [{"type": "web_search"}, {"type": "function"}]}, "tools[1].name"),
    ({"tools": [{"type": "function", "name": ""}]}, "tools[0].name"),
    ({"tools": [{"type": "function", "name": "f", "parameters": "x"}]}, "tools[0].parameters"),
    ({"tools": [{"type": "function", "name": "f", "strict": "x"}]}, "tools[0].strict"),
    ({"tools": [{"type": "namespace", "name": "n"}]}, "tools[0].tools"),
    ({"tool_choice": 5}, "tool_choice"),
    ({"parallel_tool_calls": "x"}, "parallel_tool_calls"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"max_output_tokens": -1}, "max_output_tokens"),
    ({"max_output_tokens": 1.5}, "max_output_tokens"),
    ({"max_output_tokens": "10"}, "max_output_tokens"),
    ({"max_output_tokens": 1e18}, "max_output_tokens"),
    ({"max_output_tokens": 15}, "max_output_tokens"),
    ({"temperature": 2.01}, "temperature"),
    ({"temperature": -0.1}, "temperature"),
    ({"max_tool_calls": -5}, "max_tool_calls"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"top_p": []}, "top_p"),
    ({"presence_penalty": "x"}, "presence_penalty"),
    ({"frequency_penalty": {}}, "frequency_penalty"),
    ({"top_logprobs": 1.5}, "top_logprobs"),
    ({"reasoning": "high"}, "reasoning"),
    ({"reasoning": {"effort": 5}}, "reasoning.effort"),
    ({"text": "json"}, "text"),
    ({"text": {"format": "json"}}, "text.format"),
    ({"text": {"verbosity": 1}}, "text.verbosity"),
    ({"truncation": "maybe"}, "truncation"),
    ({"metadata": []}, "metadata"),
    ({"store": "x"}, "store"),
    ({"background": "x"}, "background"),
    ({"previous_response_id": 5}, "previous_response_id"),
    ({"conversation": 5}, "conversation"),
    ({"prompt": "x"}, "prompt"),
    ({"prompt_cache_key": 5}, "prompt_cache_key"),
    ({"safety_identifier": 5}, "safety_identifier"),
    ({"service_tier": 5}, "service_tier"),
    ({"user": {}}, "user"),
]
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
WRONG_CHAT: list[tuple[Json, str]] = [
    ({"model": None}, "model"),
    ({"model": 5}, "model"),
    ({"model": ""}, "model"),
    ({"messages": None}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": ["hi"]}, "messages[0]"),
    ({"messages": [HELLO, {}]}, "messages[1].role"),
    ({"messages": [message(role=5)]}, "messages[0].role"),
    ({"messages": [message(content=5)]}, "messages[0].content"),
    ({"messages": [message(content={})]}, "messages[0].content"),
    ({"messages": [message(content=["x"])]}, "messages[0].content[0]"),
    ({"messages": [message(content=[{"text": "x"}])]}, "messages[0].content[0].type"),
    (
        {"messages": [HELLO, HELLO, message(content=[{"type": "text", "text": 5}])]},
        "messages[2].content[0].text",
    ),
    (
        {"messages": [message(content=[{"type": "image_url", "image_url": "x"}])]},
        "messages[0].content[0].image_url",
    ),
    (
        {"messages": [message(content=[{"type": "image_url", "image_url": {}}])]},
        "messages[0].content[0].image_url.url",
    ),
    (
        {"messages": [message(content=[{"type": "file", "file": {"file_id": 5}}])]},
        "messages[0].content[0].file.file_id",
    ),
    ({"messages": [message(tool_calls="x")]}, "messages[0].tool_calls"),
    (
        {"messages": [message(tool_calls=[CALL, {**CALL, "function": {}}])]},
        "messages[0].tool_calls[1].function.name",
    ),
    (
        {"messages": [message(tool_calls=[{**CALL, "function": {"name": "f", "arguments": {}}}])]},
        "messages[0].tool_calls[0].function.arguments",
    ),
    ({"messages": [message(tool_call_id=5)]}, "messages[0].tool_call_id"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": "x"}, "stream_options"),
    ({"stream_options": {"include_usage": "x"}}, "stream_options.include_usage"),
    ({"temperature": "hot"}, "temperature"),
    ({"n": 0}, "n"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 1e18}, "max_tokens"),
    ({"max_completion_tokens": "10"}, "max_completion_tokens"),
    ({"stop": 5}, "stop"),
    ({"stop": ["a", 5]}, "stop[1]"),
    ({"seed": "x"}, "seed"),
    ({"logprobs": "x"}, "logprobs"),
    ({"logit_bias": []}, "logit_bias"),
    ({"tools": "x"}, "tools"),
    ({"tools": [{}]}, "tools[0].type"),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
        "tools[0].function.parameters",
    ),
    ({"tool_choice": 5}, "tool_choice"),
    ({"response_format": "json"}, "response_format"),
    ({"metadata": "x"}, "metadata"),
    ({"user": 5}, "user"),
    ({"reasoning_effort": 5}, "reasoning_effort"),
]
WRONG = [(RESPONSES, *case) for case in WRONG_RESPONSES] + [(CHAT, *case) for case in WRONG_CHAT]


def test_a_wrong_value_is_refused_by_the_path_of_its_field(http_from_root, gateway):
    answers = [
        error_of(http_from_root.post(path, json={"model": NATIVE[path], **BODIES[path], **wrong}))
        for path, wrong, _ in WRONG
    ]
    assert answers == [(400, "invalid_request", param) for *_, param in WRONG]
    assert len(gateway.sandbox.calls) == 0


@cases("path", BODIES)
def test_a_missing_field_is_named(http_from_root, path):
    response = http_from_root.post(path, json=BODIES[path])
    assert error_of(response) == (400, "invalid_request", "model")
    assert response.json()["error"]["message"] == "Missing required parameter: 'model'."


def test_a_chat_without_messages_names_them(http_from_root):
    response = http_from_root.post(CHAT, json={"model": "sandbox-chat"})
    assert error_of(response) == (400, "invalid_request", "messages")


def test_a_wrong_value_in_a_map_names_the_map(http_from_root):
    response = http_from_root.post(
        RESPONSES, json={"model": "sandbox-responses", "input": "x", "metadata": {"a": 1}}
    )
    status, code, param = error_of(response)
    assert (status, code) == (400, "invalid_request")
    assert str(param).startswith("metadata")


def test_what_is_wrong_is_said_in_a_sentence(http_from_root):
    body = {"model": "sandbox-responses", "input": [message(content=[{"type": "x", "text": 5}])]}
    assert http_from_root.post(RESPONSES, json=body).json()["error"]["message"] == (
        "Invalid value for 'input[0].content[0].text': expected `str | null`, got `int`."
    )


def test_a_number_out_of_its_range_is_named(http_from_root):
    for field, value, words in (
        ("max_output_tokens", 5, "expected `int` >= 16, got 5"),
        ("temperature", 2.5, "expected `float` <= 2.0, got 2.5"),
    ):
        body = {"model": "sandbox-responses", "input": "Hi", field: value}
        message = http_from_root.post(RESPONSES, json=body).json()["error"]["message"]
        assert message == f"Invalid value for '{field}': {words}."


# Nothing to answer


def test_nothing_to_answer_is_one_error_over_every_protocol(http_from_root, gateway):
    """The error comes before anything is sent, and is the same for every upstream."""
    empty = http_from_root.post("/v1/conversations", json={}).json()["id"]
    nothing: list[Json] = [
        {},
        {"input": None},
        {"input": ""},
        {"input": []},
        {"conversation": empty},
    ]
    ways: list[Json] = [{}, {"stream": True}, {"background": True}, {"instructions": "Be kind."}]
    asked = [(RESPONSES, {**fields, **beside}) for fields in nothing for beside in ways]
    asked += [(f"{RESPONSES}/compact", {}), (f"{RESPONSES}/input_tokens", {})]
    errors = set()
    for protocol in ("chat", "responses", "anthropic"):
        for path, body in asked:
            answer = http_from_root.post(path, json={"model": f"sandbox-{protocol}", **body})
            errors.add((answer.status_code, answer.content))
    ((status, content),) = errors
    assert (status, orjson.loads(content)["error"]["param"]) == (400, "input")
    assert len(gateway.sandbox.calls) == 0


def test_a_turn_without_input_goes_on_from_what_was_said(http_from_root):
    for protocol in ("chat", "responses", "anthropic"):
        model = f"sandbox-{protocol}"
        first = http_from_root.post(RESPONSES, json={"model": model, "input": "Hi"}).json()
        body = {"model": model, "previous_response_id": first["id"]}
        assert http_from_root.post(RESPONSES, json=body).status_code == 200


def test_an_input_of_which_nothing_can_be_sent_is_the_same_error_for_translations(
    http_from_root, gateway
):
    left_out = {"type": "reasoning", "summary": []}
    for protocol in ("chat", "anthropic"):
        answer = http_from_root.post(
            RESPONSES, json={"model": f"sandbox-{protocol}", "input": [left_out]}
        )
        assert error_of(answer) == (400, "invalid_request", "input")
    assert len(gateway.sandbox.calls) == 0


# Too large


@cases("path", BODIES)
def test_a_declared_length_above_the_limit_is_refused_at_once(gateway, acme, monkeypatch, path):
    gateway.change(max_body_bytes=MEGABYTE)
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {acme.secret}\r\n"
    head += f"content-length: {MEGABYTE + 1}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=GIVE_UP_SECONDS) as plain:
        plain.sendall(head.encode())
        answer = plain.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"code":"request_too_large"' in answer


@cases("path", BODIES)
def test_a_body_is_refused_while_it_is_read_and_never_waited_for(gateway, acme, monkeypatch, path):
    gateway.change(max_body_bytes=MEGABYTE)
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {acme.secret}\r\n"
    head += "transfer-encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=GIVE_UP_SECONDS) as plain:
        plain.sendall(head.encode() + chunk * 17)  # and no end
        answer = plain.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"code":"request_too_large"' in answer


@cases("path", BODIES)
def test_sixty_four_megabytes_to_a_limit_of_one_are_refused(
    http_from_root, gateway, monkeypatch, path
):
    gateway.change(max_body_bytes=MEGABYTE)
    response = http_from_root.post(path, content=(b" " * MEGABYTE for _ in range(64)))
    assert error_of(response) == (413, "request_too_large", None)
    assert len(gateway.sandbox.calls) == 0


@cases("path", BODIES)
def test_a_body_of_exactly_the_limit_is_read(http_from_root, gateway, monkeypatch, path):
    gateway.change(max_body_bytes=MEGABYTE)
    body = orjson.dumps({"model": NATIVE[path], **BODIES[path]})
    padded = body + b" " * (MEGABYTE - len(body))
    assert http_from_root.post(path, content=padded).status_code == 200
    assert http_from_root.post(path, content=padded + b" ").status_code == 413


def test_an_upload_that_stalls_is_given_up(gateway, acme, monkeypatch):
    gateway.change(body_stall_seconds=0.2)
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {acme.secret}\r\n"
    head += "content-length: 100\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=GIVE_UP_SECONDS) as plain:
        plain.sendall(head.encode())
        answer = plain.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"stopped arriving" in answer


# Keys


def spoiled_keys(acme: rows.Customer) -> dict[str, str | None]:
    """Credentials that must not work, for every reason there is."""
    yesterday = clock.now() - timedelta(days=1)
    expired, expired_secret = keys.create(acme.tenant, "expired")
    ApiKey.objects.filter(pk=expired.pk).update(expires_at=yesterday)
    rotated, rotated_secret = keys.create(acme.tenant, "rotated")
    KeySecret.objects.filter(api_key=rotated).update(expires_at=yesterday)
    revoked, revoked_secret = keys.create(acme.tenant, "revoked")
    keys.revoke(revoked)
    suspended = rows.customer("suspended")
    Tenant.objects.filter(pk=suspended.tenant.pk).update(status=Tenant.Status.SUSPENDED)
    deleted, deleted_secret = keys.create(acme.tenant, "deleted")
    deleted.delete()
    return {
        "missing": None,
        "empty": "",
        "malformed": "sk-something",
        "a wrong checksum": acme.secret[:-1] + ("a" if acme.secret[-1] != "a" else "b"),
        "expired": expired_secret.reveal(),
        "rotated out": rotated_secret.reveal(),
        "revoked": revoked_secret.reveal(),
        "of a suspended tenant": suspended.secret,
        "unknown but well-formed": deleted_secret.reveal(),
        "too long": acme.secret + "x" * 60_000,
    }


@pytest.mark.persistence
def test_every_bad_key_gets_the_same_bytes_on_every_route(as_stranger, acme):
    bodies, statuses = set(), set()
    for secret in spoiled_keys(acme).values():
        for headers in (
            {"authorization": f"Bearer {secret}".strip()} if secret is not None else {},
            {"x-api-key": secret} if secret is not None else {},
        ):
            for method, path in ROUTES:
                response = as_stranger.request(method, path, headers=headers)
                bodies.add(response.content)
                statuses.add((response.status_code, response.headers["www-authenticate"]))
    assert statuses == {(401, "Bearer")}
    assert len(bodies) == 1
    error_in(bodies.pop())


def test_another_scheme_is_a_bad_key(as_stranger, acme):
    for value in (f"Basic {acme.secret}", acme.secret, "Bearer", f"Token {acme.secret}"):
        for method, path in ROUTES:
            response = as_stranger.request(method, path, headers={"authorization": value})
            assert error_of(response) == (401, "invalid_api_key", None)


@cases(("method", "path"), ROUTES)
def test_the_key_may_come_as_x_api_key(as_stranger, acme, method, path):
    body = {"model": NATIVE[path], **BODIES[path]} if path in BODIES else None
    headers = {"x-api-key": acme.secret}
    assert as_stranger.request(method, path, json=body, headers=headers).status_code == 200


@cases(("method", "path"), ROUTES)
def test_the_scheme_is_read_in_any_case_and_with_spaces(as_stranger, acme, method, path):
    body = {"model": NATIVE[path], **BODIES[path]} if path in BODIES else None
    headers = {"authorization": f"bEaReR   {acme.secret}"}
    assert as_stranger.request(method, path, json=body, headers=headers).status_code == 200


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_two_different_credentials_are_refused(as_stranger, acme, method, path):
    other = rows.customer("other").secret
    for value in (other, "sk-something", ""):
        headers = {"authorization": f"Bearer {acme.secret}", "x-api-key": value}
        response = as_stranger.request(method, path, headers=headers)
        assert error_of(response) == (400, "conflicting_credentials", None)


@cases(("method", "path"), ROUTES)
def test_two_different_authorization_headers_are_refused(as_stranger, acme, method, path):
    headers = [("authorization", f"Bearer {acme.secret}"), ("authorization", "Bearer other")]
    response = as_stranger.request(method, path, headers=headers)
    assert error_of(response) == (400, "conflicting_credentials", None)


@cases(("method", "path"), ROUTES)
def test_the_same_credential_twice_is_fine(as_stranger, acme, method, path):
    body = {"model": NATIVE[path], **BODIES[path]} if path in BODIES else None
    headers = {"authorization": f"Bearer {acme.secret}", "x-api-key": acme.secret}
    assert as_stranger.request(method, path, json=body, headers=headers).status_code == 200


def test_a_key_is_no_longer_taken_once_it_has_expired(http_from_root, acme, monkeypatch):
    ends_at = clock.now() + timedelta(hours=1)
    ApiKey.objects.filter(pk=acme.key.pk).update(expires_at=ends_at)
    body = {"model": "sandbox-chat", **BODIES[CHAT]}
    assert http_from_root.post(CHAT, json=body).status_code == 200
    monkeypatch.setattr(clock, "timestamp", ends_at.timestamp)
    assert error_of(http_from_root.post(CHAT, json=body)) == (401, "invalid_api_key", None)


def test_a_key_that_may_only_list_models_may_not_generate(http_from_root, acme):
    ApiKey.objects.filter(pk=acme.key.pk).update(scopes=["models"])
    assert http_from_root.get(MODELS).status_code == 200
    for path in BODIES:
        assert error_of(http_from_root.post(path)) == (403, "insufficient_scope", None)


def test_a_key_is_bound_to_its_networks(http_from_root, acme):
    ApiKey.objects.filter(pk=acme.key.pk).update(allowed_networks=["203.0.113.0/24"])
    for method, path in ROUTES:
        response = http_from_root.request(method, path)
        assert error_of(response) == (403, "insufficient_scope", None)


def test_an_address_the_client_claims_to_have_is_not_believed(http_from_root, acme):
    ApiKey.objects.filter(pk=acme.key.pk).update(allowed_networks=["203.0.113.0/24"])
    for method, path in ROUTES:
        response = http_from_root.request(method, path, headers={"x-forwarded-for": "203.0.113.7"})
        assert error_of(response) == (403, "insufficient_scope", None)


# Hostile credentials, and the database


def hostile_values(good: str) -> list[bytes]:
    """5,000 credentials that are all malformed."""
    chance = random.Random(2)
    letters = string.ascii_letters + string.digits
    known = [
        "' OR '1'='1",
        "'; DROP TABLE tenants_apikey; --",
        "tg_live_' UNION SELECT * FROM auth_user --",
        "%",
        "_" * 59,
        "tg_live_%%%%%%%%%%_" + "%" * 38,
        "{{7*7}}",
        "${jndi:ldap://x}",
        "../../etc/passwd",
        "\u00fc\u00df" * 20,
        "x" * 65_000,
        good.upper(),
        good[::-1],
        f"{good} {good}",
        f"{good},{good}",
        f" {good}\t{good}",
        f'"{good}"',
    ]
    values = [f"Bearer {value}".encode("latin-1") for value in known]
    values += [value.encode("latin-1") for value in known]
    while len(values) < 2500:
        place = chance.randrange(len(good))
        wrong = chance.choice([letter for letter in letters if letter != good[place]])
        values.append(f"Bearer {good[:place]}{wrong}{good[place + 1 :]}".encode())
    while len(values) < 4000:
        size = chance.randrange(300)
        values.append(b"Bearer " + bytes(chance.randrange(0x21, 0x7F) for _ in range(size)))
    while len(values) < 5000:
        high = bytes(chance.choice((*range(0x21, 0x7F), *range(0x80, 0x100))) for _ in range(60))
        values.append(high)
    return values


@pytest.fixture
def queries(monkeypatch):
    """The SQL of every query of every thread, but for the watch on the revision."""
    asked: list[str] = []
    execute = CursorWrapper.execute

    def watched(self, sql, params=None):
        if "tenants_revision" not in str(sql):
            asked.append(str(sql))
        return execute(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", watched)
    return asked


def test_hostile_credentials_ask_the_database_nothing(connection, acme, queries):
    routes = [("POST", CHAT), ("POST", RESPONSES)] * 4 + [("GET", MODELS), ("GET", f"{MODELS}/x")]
    answers = set()
    values = sampled(list(hostile_values(acme.secret)), default=300, ci=600)
    for number, value in enumerate(values):
        method, path = routes[number % len(routes)]
        name = ("authorization", "x-api-key")[number // len(routes) % 2]
        connection.putrequest(method, path)
        connection.putheader(name, value)
        connection.putheader("content-length", "0")
        connection.endheaders()
        answer = connection.getresponse()
        answers.add((answer.status, answer.read()))
    assert len(answers) == 1
    assert answers.pop()[0] == 401
    assert queries == []


def test_control_characters_in_a_credential_ask_the_database_nothing(gateway, acme, queries):
    for code in (*range(0x20), 0x7F):
        with socket.create_connection(
            ("127.0.0.1", gateway.port), timeout=GIVE_UP_SECONDS
        ) as plain:
            value = b"Bearer tg_live_" + bytes([code]) + acme.secret[8:].encode()
            plain.sendall(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: " + value)
            plain.sendall(b"\r\nconnection: close\r\n\r\n")
            status = plain.recv(65536).split(b" ", 2)[1]
        assert status in {b"400", b"401"}
    assert queries == []


def test_a_warm_key_and_alias_ask_the_database_nothing(gateway, http_from_root, queries):
    body = {"model": "sandbox-chat", **BODIES[CHAT]}
    gateway.catch_up()  # or the worker would learn of this test's rows in the middle of it
    http_from_root.post(CHAT, json=body)
    queries.clear()
    assert [http_from_root.post(CHAT, json=body).status_code for _ in range(20)] == [200] * 20
    assert queries == []


# Anything at all

ODD: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**31,
    2**63,
    2**64,
    1.5,
    1e308,
    "",
    "x",
    "\0",
    "ü\u2028\U0001f600",
    "auto",
    [],
    {},
    [None],
    [[]],
    [{}],
    {"": ""},
    {"type": "x"},
    {"type": None},
    {"role": "user"},
    {"id": "x"},
    ["x", 1, {}],
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False)
    | st.text('ab\0\n"\\ü\u2028\U0001f600', max_size=8)
)
NAMES = """
type role content text id name tools input output call_id arguments summary format schema
file_id image_url function file audio metadata stream model x
"""
names = st.sampled_from(NAMES.split())
anything = st.recursive(
    st.sampled_from(ODD) | scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
# Where something is changed: one number for each level, taken modulo what there is to choose from.
mutations = st.lists(
    st.tuples(
        st.lists(st.integers(0, 40), min_size=1, max_size=6),
        st.sampled_from(("add", "add", "add", "repeat", "replace", "remove")),
        anything,
    ),
    min_size=1,
    max_size=3,
)
CHAT_STARTS: list[Json] = [
    {"model": "sandbox-chat", "messages": [HELLO], "stream": False, "temperature": 1},
    {
        "model": "sandbox-chat",
        "messages": [
            message(content=[{"type": "text", "text": "a"}, {"type": "file", "file": {}}]),
            message(role="assistant", content=None, tool_calls=[CALL]),
            message(role="tool", tool_call_id="c"),
        ],
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
        ],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "stream": True,
        "stream_options": {"include_usage": True},
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
        "stop": ["a"],
        "n": 1,
        "max_tokens": 5,
        "logit_bias": {"1": 1},
    },
    {"model": "sandbox-responses", "messages": [HELLO]},
    {"model": "nothing", "messages": [HELLO]},
]
RESPONSES_STARTS: list[Json] = [
    {"model": "sandbox-responses", "input": "Hello", "stream": True, "store": True},
    {
        "model": "sandbox-responses",
        "input": [
            message(content=[{"type": "input_text", "text": "[tool] a"}]),
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text"}]},
            {"type": "additional_tools", "role": "developer", "tools": [{"type": "custom"}]},
        ],
        "tools": [
            {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True},
            {"type": "code_interpreter", "container": {"type": "auto"}},
            {"type": "shell", "environment": {"skills": []}},
        ],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"name": "f"}]},
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_schema", "schema": {"properties": {"a": {}}}}},
        "include": ["reasoning.encrypted_content"],
        "stream": True,
        "max_output_tokens": 50,
        "metadata": {"a": "b"},
        "prompt_cache_options": {"mode": "x"},
    },
    {"model": "sandbox-chat", "input": "Hello"},
    {"model": "nothing", "input": [HELLO]},
]


ADDRESS_PIECES = "/ // . .. %00 %2f %ff %C3%BC %0a ? & = # ; x v1 models responses openai * ' ~ %"


def changed(value: Any, path: list[int], how: str, new: Any) -> Any:
    """A copy of a JSON value with one place in it changed."""
    if not path or not isinstance(value, list | dict) or not value:
        return new
    copy: Any = value.copy()
    places = list(copy) if isinstance(copy, dict) else list(range(len(copy)))
    place = places[path[0] % len(places)]
    if len(path) > 1 and copy[place]:
        copy[place] = changed(copy[place], path[1:], how, new)
    elif how == "remove":
        del copy[place]
    elif how == "repeat":
        copy[place] = [copy[place]] * 3
    elif how == "add" and isinstance(copy, list):
        copy.append(copy[place])
    elif how == "add":
        copy["x_unknown"] = new
    else:
        copy[place] = new
    return copy


def assert_answers_well(connection: http.client.HTTPConnection, path: str, body: bytes) -> None:
    """No 5xx but the 501 of another protocol, always an envelope, always an end."""
    headers = connection.credential  # type: ignore[attr-defined]  # put there by the test
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()  # a TimeoutError here is a hang
    content = answer.read()
    assert answer.status < 500 or answer.status == 501, (answer.status, content)
    if answer.status != 200:
        error_in(content)
    elif answer.headers["content-type"].startswith("text/event-stream"):
        assert content.endswith(b"data: [DONE]\n\n")
    else:
        assert orjson.loads(content)["object"] in {"response", "chat.completion"}


def generated(examples: int) -> Any:
    """Return settings for a run over one live gateway, without a database of examples."""
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def generate(
    connection: http.client.HTTPConnection, acme: rows.Customer, path: str, examples: int
) -> None:
    connection.credential = acme.headers  # type: ignore[attr-defined]
    starts = CHAT_STARTS if path == CHAT else RESPONSES_STARTS

    @generated(examples)
    @given(st.sampled_from(starts), mutations)
    def run(start: Json, changes: list[tuple[list[int], str, Any]]) -> None:
        body: Any = start
        for place, how, new in changes:
            body = changed(body, place, how, new)
        raw = orjson.dumps(body, default=float) if _fits(body) else repr(body).encode()
        assert_answers_well(connection, path, raw)

    run()


def _fits(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


@cases("path", BODIES)
def test_no_body_makes_the_gateway_fail(connection, acme, path):
    generate(connection, acme, path, GENERATED)


def broken_pieces(good: bytes) -> list[bytes]:
    """A good body cut short at every byte, and with one byte changed at every place."""
    chance = random.Random(3)
    cut = [good[:size] for size in range(len(good))]
    flipped = [
        good[:place] + bytes([chance.randrange(256)]) + good[place + 1 :]
        for place in range(len(good))
    ]
    return cut + flipped


@cases("path", BODIES)
def test_no_damaged_body_makes_the_gateway_fail(connection, acme, path):
    connection.credential = acme.headers
    good = orjson.dumps((CHAT_STARTS if path == CHAT else RESPONSES_STARTS)[1])
    for body in sampled(broken_pieces(good), default=40, ci=100):
        assert_answers_well(connection, path, body)


@cases("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_no_method_makes_the_gateway_fail(connection, acme, method):
    for path in (
        *BODIES,
        MODELS,
        f"{MODELS}/x",
        "/v1/nothing",
        "/openai/v1/responses/x",
        "/healthz",
    ):
        connection.request(method, path, b"{", acme.headers)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status < 500
        if answer.status >= 400 and method != "HEAD":
            error_in(content)


def test_no_address_makes_the_gateway_fail(connection, acme):
    chance = random.Random(4)
    pieces = ADDRESS_PIECES.split()
    for _ in range(by_tier(default=75, ci=150, proof=5_000)):
        tail = "".join(chance.choice(pieces) for _ in range(chance.randrange(12)))
        connection.request("GET", f"/v1/{tail}", headers=acme.headers)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status < 500
        if answer.status >= 400:
            error_in(content)


def test_no_forwarded_header_makes_the_gateway_fail(connection, acme):
    chance = random.Random(5)
    allowed = [b"\t", *(bytes([code]) for code in (*range(0x20, 0x7F), *range(0x80, 0x100)))]
    body = orjson.dumps({"model": "sandbox-responses", "input": "hi"})
    for number in range(300):
        value = b"".join(chance.choice(allowed) for _ in range(chance.randrange(200))).strip()
        connection.putrequest("POST", RESPONSES)
        connection.putheader("authorization", acme.headers["authorization"])
        connection.putheader(f"x-codex-{'!#$&-^_`|~'[number % 10]}{number}", value)
        connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        assert (answer.status, answer.read() != b"") == (200, True)


def test_ten_thousand_headers_are_no_trouble(gateway, acme):
    head = f"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-api-key: {acme.secret}\r\n"
    head += "x-codex-a: b\r\n" * 10_000 + "connection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=GIVE_UP_SECONDS) as plain:
        plain.sendall(head.encode())
        assert plain.recv(65536).startswith(b"HTTP/1.1 ")
