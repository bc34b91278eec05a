"""Names of models, the headers that travel upstream, and those of every answer."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from gateway_project.lib.secret import Secret
from routing import credentials
from routing.models import Alias, AliasGrant, Provider
from tenants.keys import keys
from tenants.models import ApiKey
from tests.plugins.cases import cases
from tests.support import rows
from tests.support.client import client_of, error_of
from tests.support.reference import json_of

Json = dict[str, Any]

PREFIXES = ("/v1", "/openai/v1")
CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
HELLO = [{"role": "user", "content": "Hello"}]
BODIES: dict[str, Json] = {CHAT: {"messages": HELLO}, RESPONSES: {"input": "Hello"}}
NATIVE = {CHAT: "sandbox-chat", RESPONSES: "sandbox-responses"}
SECRET = "upstream-secret-0123456789"


@pytest.fixture
def http(http_from_root: httpx.Client) -> httpx.Client:
    return http_from_root


def ask(http: httpx.Client, path: str, model: str, **body: Any) -> httpx.Response:
    return http.post(path, json={"model": model, **BODIES[path], **body})


def sandbox_provider(protocol: str) -> Provider:
    return Provider.objects.get(name=f"sandbox-{protocol}")


# Names


@cases("prefix", PREFIXES)
def test_both_prefixes_answer_alike(http, prefix):
    chat = http.post(
        f"{prefix}/chat/completions", json={"model": "sandbox-chat", "messages": HELLO}
    )
    assert chat.json()["choices"][0]["message"]["content"] == "You said: Hello"
    response = http.post(
        f"{prefix}/responses", json={"model": "sandbox-responses", "input": "Hello"}
    )
    assert response.json()["output"][0]["content"][0]["text"] == "You said: Hello"
    assert http.get(f"{prefix}/models").json()["object"] == "list"
    assert http.get(f"{prefix}/models/sandbox-chat").json()["id"] == "sandbox-chat"


@cases("path", BODIES)
def test_the_model_is_named_as_it_was_asked_for(http, gateway, path):
    provider = Provider.objects.get(name=NATIVE[path])
    rows.alias("team/Größe 1", (provider, "real-model"))
    assert ask(http, path, "team/Größe 1").json()["model"] == "team/Größe 1"
    streamed = ask(http, path, "team/Größe 1", stream=True).text
    assert "team/Größe 1" in streamed
    assert "real-model" not in streamed
    assert [call.model for call in gateway.sandbox.calls] == ["real-model"] * 2


@cases("separator", ["/", "@"])
@cases("path", BODIES)
def test_a_direct_target_works_where_the_tenant_allows_it(http, acme, gateway, path, separator):
    acme.tenant.allow_direct_targets = True
    acme.tenant.save()
    name = f"{NATIVE[path]}{separator}sandbox-1"
    response = ask(http, path, name)
    assert response.status_code == 200
    assert response.json()["model"] == name
    assert gateway.sandbox.calls[-1].model == "sandbox-1"


@cases("separator", ["/", "@"])
@cases("path", BODIES)
def test_a_direct_target_is_unknown_where_the_tenant_does_not_allow_it(http, path, separator):
    name = f"{NATIVE[path]}{separator}sandbox-1"
    assert error_of(ask(http, path, name)) == (404, "model_not_found", "model")


def test_a_direct_target_may_hold_further_separators(http, acme, gateway):
    acme.tenant.allow_direct_targets = True
    acme.tenant.save()
    rows.alias("any", (sandbox_provider("chat"), "vendor/model@2026"))
    assert ask(http, CHAT, "sandbox-chat/vendor/model@2026").status_code == 200
    assert gateway.sandbox.calls[-1].model == "vendor/model@2026"


def test_a_key_with_a_list_of_aliases_has_no_direct_targets(http, acme):
    acme.tenant.allow_direct_targets = True
    acme.tenant.save()
    acme.key.all_aliases = False
    acme.key.save()
    assert ask(http, CHAT, "sandbox-chat/sandbox-1").status_code == 404


def test_a_model_the_provider_has_no_row_for_is_no_direct_target(http, acme, gateway):
    acme.tenant.allow_direct_targets = True
    acme.tenant.save()
    assert ask(http, CHAT, "sandbox-chat/unlisted").status_code == 404
    assert len(gateway.sandbox.calls) == 0


@pytest.mark.parametrize("path", BODIES)
def test_unknown_disabled_ungranted_and_foreign_names_are_one_answer(http, acme, path):
    provider = Provider.objects.get(name=NATIVE[path])
    bob = rows.customer("bob")
    rows.alias("unused", (provider, "m"), enabled=False)
    rows.alias("foreign", (provider, "m"), tenant=bob.tenant)
    rows.alias("granted", (provider, "m"))
    rows.alias("ungranted", (provider, "m"))
    acme.key.all_aliases = False
    acme.key.save()
    AliasGrant.objects.create(api_key=acme.key, alias=Alias.objects.get(name="granted"))
    assert ask(http, path, "granted").status_code == 200
    answers = {
        ask(http, path, name).content.replace(name.encode(), b"NAME")
        for name in ("unknown", "unused", "foreign", "ungranted", "sandbox-chat/sandbox-1")
    }
    assert len(answers) == 1
    error = orjson.loads(answers.pop())["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")


def test_a_tenants_own_alias_wins_over_the_platforms(http, acme, as_bob, gateway):
    own = rows.provider("chat", gateway.sandbox.base_url, "own", tenant=acme.tenant)
    rows.alias("sandbox-chat", (own, "acmes-model"), tenant=acme.tenant)
    ask(http, CHAT, "sandbox-chat")
    ask(as_bob, CHAT, "sandbox-chat")
    assert [call.model for call in gateway.sandbox.calls] == ["acmes-model", "sandbox-1"]


# Cells


@cases("stream", [False, True])
def test_native_only_refuses_another_protocol_before_anything_is_sent(http, gateway, stream):
    rows.alias("native", (sandbox_provider("chat"), "m"), responses_mode="native_only")
    response = ask(http, RESPONSES, "native", stream=stream)
    assert error_of(response) == (400, "invalid_request", "model")
    assert len(gateway.sandbox.calls) == 0


def test_native_only_lets_responses_providers_and_chat_through(http):
    rows.alias("native", (sandbox_provider("responses"), "m"), responses_mode="native_only")
    rows.alias("chatty", (sandbox_provider("chat"), "m"), responses_mode="native_only")
    assert ask(http, RESPONSES, "native").status_code == 200
    assert ask(http, CHAT, "chatty").status_code == 200


@cases("path", [CHAT, RESPONSES])
def test_a_mixed_alias_tries_its_targets_in_their_order_whatever_they_speak(http, gateway, path):
    targets = [(sandbox_provider(protocol), f"m-{protocol}") for protocol in rows.PROTOCOLS]
    rows.alias("mixed", *reversed(targets))
    assert ask(http, path, "mixed").status_code == 200
    assert [call.model for call in gateway.sandbox.calls] == ["m-anthropic"]


def test_an_alias_without_an_enabled_target_is_unavailable(http):
    rows.alias("empty")
    assert error_of(ask(http, CHAT, "empty")) == (503, "service_unavailable", None)


# State


@cases(
    ("field", "value", "code"),
    [
        ("previous_response_id", "resp_1", "previous_response_not_found"),
        ("conversation", "conv_1", "conversation_not_found"),
        ("conversation", {"id": "conv_1"}, "conversation_not_found"),
        ("prompt", {"id": "pmpt_1"}, "unsupported_parameter"),
    ],
)
def test_state_that_is_not_there_is_refused_by_name(http, gateway, field, value, code):
    response = ask(http, RESPONSES, "sandbox-responses", **{field: value})
    assert error_of(response) == (400, code, field)
    assert len(gateway.sandbox.calls) == 0


@cases(
    "reference",
    [
        {"type": "item_reference", "id": "msg_1"},
        {"id": "msg_1"},
        {"type": None, "id": "msg_1"},
    ],
)
def test_a_reference_to_an_unknown_item_is_refused_where_it_stands(http, gateway, reference):
    response = ask(http, RESPONSES, "sandbox-responses", input=[*HELLO, reference])
    assert error_of(response) == (400, "item_not_found", "input[1]")
    assert len(gateway.sandbox.calls) == 0


def test_state_that_asks_for_nothing_is_accepted_and_not_sent(http, gateway):
    nothing = {
        "previous_response_id": None,
        "conversation": None,
        "background": False,
        "prompt": None,
    }
    assert ask(http, RESPONSES, "sandbox-responses", **nothing).status_code == 200
    assert set(gateway.sandbox.calls[-1].body).isdisjoint(nothing)


@cases("store", [{}, {"store": True}, {"store": False}, {"store": None}])
def test_nothing_is_stored_upstream_and_the_answer_says_what_is_here(http, gateway, store):
    here = store.get("store") is not False
    assert ask(http, RESPONSES, "sandbox-responses", **store).json()["store"] is here
    streamed = ask(http, RESPONSES, "sandbox-responses", stream=True, **store).text
    assert streamed.count('"store":true') == (3 if here else 0)
    assert streamed.count('"store":false') == (0 if here else 3)
    assert [call.body["store"] for call in gateway.sandbox.calls] == [False, False]


def test_a_completion_is_never_stored_upstream(http, gateway):
    assert ask(http, CHAT, "sandbox-chat", store=True).status_code == 200
    assert "store" not in gateway.sandbox.calls[-1].body


# What travels upstream


@cases("path", BODIES)
def test_fields_the_gateway_does_not_know_travel_on(http, gateway, path):
    unknown = {
        "x_new": {"a": [1, 2.5, None, "ü\u2028"]},
        "client_metadata": {"b": "c"},
        "api_base": "http://127.0.0.1:9/",
        "extra_headers": {"x-evil": "1"},
    }
    assert ask(http, path, NATIVE[path], **unknown).status_code == 200
    call = gateway.sandbox.calls[-1]
    assert call.body.items() >= unknown.items()
    assert "x-evil" not in call.headers


def test_items_and_tools_the_gateway_does_not_know_travel_on(http, gateway):
    items = [{"type": "acme:thing", "id": "x", "payload": {"deep": [1]}}, *HELLO]
    tools = [{"type": "acme:tool", "level": 3}, {"type": "web_search", "external_web_access": True}]
    assert ask(http, RESPONSES, "sandbox-responses", input=items, tools=tools).status_code == 200
    sent = gateway.sandbox.calls[-1].body
    assert (sent["input"], sent["tools"]) == (items, tools)


def test_what_codex_sends_reaches_the_upstream_unharmed(http, gateway):
    captured = json_of("captures/codex_exec_tool_roundtrip.json")
    requests = captured if isinstance(captured, list) else captured["requests"]
    bodies = [request["body"] for request in requests if "body" in request]
    assert bodies != []
    for body in bodies:
        sent = {**body, "model": "sandbox-responses"}
        response = http.post(RESPONSES, json=sent)
        assert response.status_code == 200, response.text
        assert gateway.sandbox.calls[-1].body == {**body, "model": "sandbox-1", "store": False}


def test_the_clients_headers_for_openai_travel_on_and_nothing_else(http, gateway):
    forwarded = {
        "x-codex-window-id": "w1",
        "x-codex-turn-metadata": '{"turn_id":"t1"}',
        "x-codex-beta-features": "remote_compaction_v2",
        "x-openai-internal-codex-responses-lite": "true",
        "openai-beta": "responses_websockets=2026-02-06",
        "session-id": "s1",
        "thread-id": "t1",
    }
    kept_back = {
        "cookie": "sessionid=stolen",
        "x-forwarded-for": "10.0.0.1",
        "x-forwarded-host": "evil.example",
        "forwarded": "for=10.0.0.1",
        "openai-organization": "org-1",
        "openai-project": "proj_1",
        "originator": "codex_exec",
        "referer": "http://secret.example/",
        "x-request-id": "mine",
        "proxy-authorization": "Basic eA==",
        "x-stainless-lang": "python",
        "api-key": "mine",
    }
    response = http.post(
        RESPONSES,
        json={"model": "sandbox-responses", "input": "hi"},
        headers={**forwarded, **kept_back},
    )
    sent = gateway.sandbox.calls[-1].headers
    assert sent.items() >= forwarded.items()
    assert set(sent) == {
        *forwarded,
        "host",
        "user-agent",
        "accept",
        "accept-encoding",
        "content-type",
        "content-length",
        "x-request-id",
    }
    assert sent["x-request-id"] == response.headers["x-request-id"]
    assert sent["x-request-id"] != "mine"


@cases("path", BODIES)
def test_the_clients_credential_never_goes_upstream(gateway, acme, path):
    for headers in (acme.headers, {"x-api-key": acme.secret}):
        with client_of(gateway, None, "", **headers) as client:
            assert ask(client, path, NATIVE[path]).status_code == 200
    for call in gateway.sandbox.calls:
        assert set(call.headers).isdisjoint({"authorization", "x-api-key", "cookie"})
        assert acme.secret not in str(call.headers)


@cases(
    ("auth_kind", "expected"),
    [
        ("bearer", {"authorization": f"Bearer {SECRET}"}),
        ("x-api-key", {"x-api-key": SECRET, "anthropic-version": "2023-06-01"}),
        ("api-key", {"api-key": SECRET}),
        ("none", {}),
    ],
)
@cases("path", BODIES)
def test_the_providers_secret_travels_as_it_is_configured(http, gateway, path, auth_kind, expected):
    protocol = NATIVE[path].removeprefix("sandbox-")
    provider = rows.provider(protocol, gateway.sandbox.base_url, "own", SECRET, auth_kind=auth_kind)
    rows.alias("own", (provider, "m"))
    assert ask(http, path, "own").status_code == 200
    sent = gateway.sandbox.calls[-1].headers
    names = {"authorization", "x-api-key", "api-key", "anthropic-version"}
    assert {name: sent[name] for name in names & set(sent)} == expected


def test_a_tenants_own_credential_beats_the_platforms(http, as_bob, acme, gateway):
    provider = rows.provider("chat", gateway.sandbox.base_url, "shared", "platform-secret-1")
    credentials.create(provider, Secret("acmes-secret-1"), tenant=acme.tenant)
    rows.alias("shared", (provider, "m"))
    ask(http, CHAT, "shared")
    ask(as_bob, CHAT, "shared")
    assert [call.headers["authorization"] for call in gateway.sandbox.calls] == [
        "Bearer acmes-secret-1",
        "Bearer platform-secret-1",
    ]


def test_a_provider_without_its_credential_is_not_called(http, gateway):
    provider = rows.provider("chat", gateway.sandbox.base_url, "keyless", auth_kind="bearer")
    rows.alias("keyless", (provider, "m"))
    assert error_of(ask(http, CHAT, "keyless")) == (502, "upstream_auth_failed", None)
    assert len(gateway.sandbox.calls) == 0


# Quirks


def quirky(gateway, **quirks: Any) -> None:
    provider = rows.provider("chat", gateway.sandbox.base_url, "quirky", quirks=quirks)
    rows.alias("quirky", (provider, "m"))


def test_a_vendor_that_refuses_stream_options_gets_none(http, gateway):
    quirky(gateway, no_stream_usage=True)
    body = {"stream": True, "stream_options": {"include_usage": True}}
    assert ask(http, CHAT, "quirky", **body).text.endswith("data: [DONE]\n\n")
    assert "stream_options" not in gateway.sandbox.calls[-1].body


def test_other_stream_options_of_the_client_are_kept(http, gateway):
    options = {"include_usage": False, "include_obfuscation": False}
    ask(http, CHAT, "sandbox-chat", stream=True, stream_options=options)
    assert gateway.sandbox.calls[-1].body["stream_options"] == {
        "include_usage": True,
        "include_obfuscation": False,
    }


def test_a_whole_answer_asks_for_no_stream_options(http, gateway):
    ask(http, CHAT, "sandbox-chat")
    assert "stream_options" not in gateway.sandbox.calls[-1].body


@cases("wanted", ["max_tokens", "max_completion_tokens"])
@cases("given", ["max_tokens", "max_completion_tokens"])
def test_the_output_limit_goes_by_the_name_the_vendor_wants(http, gateway, given, wanted):
    quirky(gateway, max_tokens_field=wanted)
    assert ask(http, CHAT, "quirky", **{given: 50}).status_code == 200
    sent = gateway.sandbox.calls[-1].body
    limits = {name: sent[name] for name in ("max_tokens", "max_completion_tokens") if name in sent}
    assert limits == {wanted: 50}


def test_an_output_limit_goes_by_its_own_name_without_the_quirk(http, gateway):
    ask(http, CHAT, "sandbox-chat", max_tokens=50)
    assert gateway.sandbox.calls[-1].body["max_tokens"] == 50


# Ids of things stored at the provider


FILE_PART = {"type": "input_file", "file_id": "file-1"}
FOREIGN: dict[str, Json] = {
    "input[0].content[0].file_id": {"input": [{"role": "user", "content": [FILE_PART]}]},
    "input[0].output[0].file_id": {
        "input": [
            {"type": "function_call_output", "call_id": "c", "output": [FILE_PART]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        ]
    },
    "input[0].output.file_id": {
        "input": [
            {
                "type": "computer_call_output",
                "call_id": "c",
                "output": {"type": "computer_screenshot", "file_id": "file-1"},
            },
            {"type": "computer_call", "call_id": "c"},
        ]
    },
    "input[0].container_id": {
        "input": [{"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1"}]
    },
    "input[0].environment.container_id": {
        "input": [
            {
                "type": "shell_call",
                "call_id": "c",
                "action": {},
                "environment": {"type": "container_reference", "container_id": "cntr_1"},
            }
        ]
    },
    "input[0].tools[0].vector_store_ids": {
        "input": [
            {
                "type": "additional_tools",
                "role": "developer",
                "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}],
            }
        ]
    },
    "instructions[0].content[0].file_id": {
        "instructions": [{"role": "developer", "content": [FILE_PART]}]
    },
    "tools[0].vector_store_ids": {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
    "tools[0].container": {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]},
    "tools[0].container.file_ids": {
        "tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["f"]}}]
    },
    "tools[0].environment.container_id": {
        "tools": [
            {
                "type": "shell",
                "environment": {"type": "container_reference", "container_id": "cntr_1"},
            }
        ]
    },
    "tools[0].environment.file_ids": {
        "tools": [{"type": "shell", "environment": {"type": "container_auto", "file_ids": ["f"]}}]
    },
    "tools[0].environment.skills": {
        "tools": [
            {
                "type": "shell",
                "environment": {
                    "type": "container_auto",
                    "skills": [{"type": "skill_reference", "skill_id": "s1"}],
                },
            }
        ]
    },
    "tools[0].tunnel_id": {"tools": [{"type": "mcp", "server_label": "a", "tunnel_id": "t1"}]},
    "tools[0].tools[0].vector_store_ids": {
        "tools": [
            {
                "type": "namespace",
                "name": "n",
                "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}],
            }
        ]
    },
    "prompt_cache_options.comparison_response_id": {
        "prompt_cache_options": {"comparison_response_id": "resp_1"}
    },
    "tools[0].input_image_mask.file_id": {
        "tools": [{"type": "image_generation", "input_image_mask": {"file_id": "file-1"}}]
    },
}


@cases("param", FOREIGN)
def test_a_foreign_id_is_refused_over_a_platform_credential(http, gateway, param):
    response = ask(http, RESPONSES, "sandbox-responses", **FOREIGN[param])
    assert error_of(response) == (400, "unsupported_parameter", param)
    assert len(gateway.sandbox.calls) == 0


@cases("param", FOREIGN)
def test_a_foreign_id_may_travel_over_the_tenants_own_credential(http, acme, gateway, param):
    provider = rows.provider(
        "responses", gateway.sandbox.base_url, "own", "acmes-secret-1", tenant=acme.tenant
    )
    rows.alias("own", (provider, "m"), tenant=acme.tenant)
    assert ask(http, RESPONSES, "own", **FOREIGN[param]).status_code == 200
    assert gateway.sandbox.calls[-1].body.items() >= FOREIGN[param].items()


def test_earlier_audio_is_refused_in_chat_over_a_platform_credential(http, gateway):
    messages = [*HELLO, {"role": "assistant", "audio": {"id": "audio_1"}}]
    response = ask(http, CHAT, "sandbox-chat", messages=messages)
    assert error_of(response) == (400, "unsupported_parameter", "messages[1].audio.id")
    assert len(gateway.sandbox.calls) == 0


def test_a_file_id_is_refused_in_chat_over_a_platform_credential(http, acme, gateway):
    part = {"type": "file", "file": {"file_id": "file-1"}}
    messages = [*HELLO, {"role": "user", "content": [{"type": "text", "text": "x"}, part]}]
    response = ask(http, CHAT, "sandbox-chat", messages=messages)
    param = "messages[1].content[1].file.file_id"
    assert error_of(response) == (400, "unsupported_parameter", param)
    assert len(gateway.sandbox.calls) == 0
    provider = rows.provider(
        "chat", gateway.sandbox.base_url, "own", "acmes-secret-1", tenant=acme.tenant
    )
    rows.alias("own", (provider, "m"), tenant=acme.tenant)
    assert ask(http, CHAT, "own", messages=messages).status_code == 200


def test_files_sent_with_the_request_and_schemas_about_files_are_fine(http):
    content = [
        {
            "type": "input_file",
            "filename": "a.pdf",
            "file_data": "data:application/pdf;base64,eA==",
        },
        {"type": "input_image", "image_url": "data:image/png;base64,eA==", "file_id": None},
    ]
    schema = {"type": "object", "properties": {"file_id": {"type": "string"}}}
    tools = [
        {"type": "function", "name": "open", "parameters": schema, "strict": False},
        {"type": "code_interpreter", "container": {"type": "auto"}},
    ]
    body = {"input": [{"role": "user", "content": content}], "tools": tools}
    assert ask(http, RESPONSES, "sandbox-responses", **body).status_code == 200


# Routes and methods


@cases("prefix", PREFIXES)
@cases(
    ("path", "method", "allowed"),
    [
        ("/responses", "GET", "POST"),
        ("/responses", "DELETE", "POST"),
        ("/chat/completions", "PUT", "POST"),
        ("/chat/completions", "PUT", "GET"),
        ("/conversations", "GET", "POST"),
        ("/responses/resp_1", "POST", "DELETE"),
        ("/responses/resp_1/cancel", "GET", "POST"),
        ("/models", "POST", "GET"),
        ("/models/sandbox-chat", "DELETE", "GET"),
    ],
)
def test_a_wrong_method_is_405_and_says_which_are_right(http, prefix, path, method, allowed):
    response = http.request(method, f"{prefix}{path}")
    assert error_of(response) == (405, "method_not_allowed", None)
    assert allowed in response.headers["allow"].split(", ")
    assert response.headers["content-type"] == "application/json"


@cases("prefix", PREFIXES)
@cases("method", ["GET", "POST", "DELETE", "PATCH"])
@cases("path", ["/nothing", "/", "/chat", "/files"])
def test_an_unknown_route_is_404_in_json(http, prefix, method, path):
    response = http.request(method, f"{prefix}{path}")
    assert error_of(response) == (404, "not_found", None)
    assert response.headers["content-type"] == "application/json"


@cases("path", ["/v1", "/openai/v1", "/openai", "/openai/v2/models"])
def test_a_route_beside_the_prefix_is_404(http, path):
    assert http.get(path).status_code == 404


def test_a_trailing_slash_does_no_harm(http):
    assert http.post("/v1/responses/", json={"model": "sandbox-responses", "input": "x"}).is_success
    assert http.post("/v1/chat/completions/", json={"model": "x"}).status_code == 400


@cases(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/nothing"),
        ("GET", "/v1/nothing"),
        ("GET", "/nothing"),
        ("GET", "/console/login/"),
        ("GET", "/v1/responses"),
        ("POST", "/v1/models"),
        ("POST", "/v1/responses"),
    ],
)
def test_every_answer_has_a_request_id_of_its_own(http, method, path):
    first, second = (http.request(method, path).headers.get_list("x-request-id") for _ in range(2))
    assert (len(first), len(second)) == (1, 1)
    assert first != second
    assert first[0].startswith("req_")


@cases("path", BODIES)
@cases("stream", [False, True])
def test_the_request_id_is_the_one_that_is_logged(http, gateway, monkeypatch, path, stream):
    lines: list[Json] = []
    monkeypatch.setattr(gateway.worker.services.call_log, "write", lines.append)
    answered = ask(http, path, NATIVE[path], stream=stream)
    refused = ask(http, path, "nothing", stream=stream)
    assert [line["request_id"] for line in lines] == [
        answered.headers["x-request-id"],
        refused.headers["x-request-id"],
    ]
    assert [(line["status"], line["http_status"]) for line in lines] == [
        ("completed", 200),
        ("refused", 404),
    ]


def test_a_stream_is_neither_cached_nor_buffered_nor_compressed(http):
    response = http.post(
        RESPONSES,
        json={"model": "sandbox-responses", "input": "hi", "stream": True},
        headers={"accept-encoding": "gzip, br", "accept": "application/json"},
    )
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in response.headers


# Models


def test_the_list_of_models_serves_openais_sdks_and_claude_code(http):
    listing = http.get("/v1/models", params={"limit": 1000}).json()
    assert listing["object"] == "list"
    assert [model["id"] for model in listing["data"]] == [
        "sandbox-anthropic",
        "sandbox-chat",
        "sandbox-responses",
    ]
    assert (listing["has_more"], listing["first_id"], listing["last_id"]) == (
        False,
        "sandbox-anthropic",
        "sandbox-responses",
    )
    assert set(listing["data"][0]) == {
        "id",
        "object",
        "created",
        "owned_by",
        "type",
        "display_name",
        "created_at",
    }
    assert listing["data"][0] == http.get("/v1/models/sandbox-anthropic").json()


def test_the_list_of_models_has_every_key_codex_needs(http):
    (needed,) = json_of("captures/codex_models_min_response.json")["models"]
    listing = http.get("/v1/models", params={"client_version": "0.169.0"}).json()
    entries = listing["models"]
    assert [entry["slug"] for entry in entries] == [model["id"] for model in listing["data"]]
    for entry in entries:
        assert entry.keys() >= needed.keys()
        assert {key: type(entry[key]) for key in needed} == {
            key: type(value) for key, value in needed.items()
        }
        assert entry["truncation_policy"].keys() == needed["truncation_policy"].keys()
        assert entry["supported_reasoning_levels"][0].keys() == {"effort", "description"}


def test_codex_learns_the_context_window_of_the_first_target(http):
    model = sandbox_provider("chat").provider_models.get()
    model.context_window = 4096
    model.save()
    entries = {entry["slug"]: entry for entry in http.get("/v1/models").json()["models"]}
    assert entries["sandbox-chat"]["context_window"] == 4096
    assert entries["sandbox-responses"]["context_window"] == 128_000


def test_an_empty_list_of_models_is_still_a_list(http):
    Alias.objects.all().delete()
    listing = http.get("/v1/models").json()
    assert (listing["data"], listing["models"]) == ([], [])
    assert (listing["first_id"], listing["last_id"]) == (None, None)


def test_a_model_with_slashes_is_found(http):
    rows.alias("team/model/1", (sandbox_provider("chat"), "m"))
    assert http.get("/v1/models/team/model/1").json()["id"] == "team/model/1"
    assert http.get("/v1/models/team%2Fmodel%2F1").json()["id"] == "team/model/1"


def test_a_key_sees_only_what_it_was_granted(gateway, acme, http):
    key, secret = keys.create(acme.tenant, "narrow", all_aliases=False)
    AliasGrant.objects.create(api_key=key, alias=Alias.objects.get(name="sandbox-chat"))
    headers = {"authorization": f"Bearer {secret.reveal()}"}
    listing = http.get("/v1/models", headers=headers).json()
    assert [model["id"] for model in listing["data"]] == ["sandbox-chat"]
    assert [entry["slug"] for entry in listing["models"]] == ["sandbox-chat"]
    assert http.get("/v1/models/sandbox-chat", headers=headers).status_code == 200
    assert http.get("/v1/models/sandbox-responses", headers=headers).status_code == 404


def test_a_model_not_listed_is_the_same_404_as_an_unknown_one(http, acme):
    bob = rows.customer("bob")
    rows.alias("foreign", (sandbox_provider("chat"), "m"), tenant=bob.tenant)
    rows.alias("unused", (sandbox_provider("chat"), "m"), enabled=False)
    answers = {
        http.get(f"/v1/models/{name}").content.replace(name.encode(), b"NAME")
        for name in ("unknown", "foreign", "unused")
    }
    assert len(answers) == 1
    assert answers == {ask(http, CHAT, "unknown").content.replace(b"unknown", b"NAME")}


def test_a_tenant_never_sees_another_tenants_names_or_secrets(http, as_bob, acme, gateway):
    """Canaries: every text only acme may know. Bob asks everywhere, for everything."""
    acme.tenant.allow_direct_targets = True
    acme.tenant.save()
    bob = ApiKey.objects.get(tenant__slug="bob").tenant
    bob.allow_direct_targets = True
    bob.save()
    provider = rows.provider(
        "chat", gateway.sandbox.base_url, "canary-provider", "canary-secret-123", tenant=acme.tenant
    )
    rows.alias("canary-alias", (provider, "canary-model"), tenant=acme.tenant)
    assert ask(http, CHAT, "canary-alias").status_code == 200
    assert ask(http, CHAT, "canary-provider/canary-model").status_code == 200
    asked = len(gateway.sandbox.calls)
    answers = [
        as_bob.get("/v1/models"),
        as_bob.get("/v1/models/canary-alias"),
        as_bob.get("/openai/v1/models/canary-provider/canary-model"),
        ask(as_bob, CHAT, "canary-alias"),
        ask(as_bob, RESPONSES, "canary-alias"),
        ask(as_bob, CHAT, "canary-provider/canary-model"),
        ask(as_bob, CHAT, "canary-provider@canary-model"),
    ]
    assert [answer.status_code for answer in answers] == [200, 404, 404, 404, 404, 404, 404]
    assert b"canary" not in answers[0].content
    assert b"canary-secret" not in b"".join(answer.content for answer in answers)
    assert len(gateway.sandbox.calls) == asked


def test_an_alias_of_the_same_name_leads_each_tenant_to_its_own_credential(
    http, as_bob, acme, gateway
):
    bob = ApiKey.objects.get(tenant__slug="bob").tenant
    for tenant, secret in ((acme.tenant, "acmes-secret-1"), (bob, "bobs-secret-1")):
        provider = rows.provider("chat", gateway.sandbox.base_url, "mine", secret, tenant=tenant)
        rows.alias("mine", (provider, "m"), tenant=tenant)
    ask(http, CHAT, "mine")
    ask(as_bob, CHAT, "mine")
    ask(http, CHAT, "mine")
    assert [call.headers["authorization"] for call in gateway.sandbox.calls] == [
        "Bearer acmes-secret-1",
        "Bearer bobs-secret-1",
        "Bearer acmes-secret-1",
    ]
