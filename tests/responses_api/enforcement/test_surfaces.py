"""A planted word reaches no provider, in whatever part of a request it stands, by whatever way it comes."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from gateway_project.sandbox.reply import Scripted
from tests.responses_api.background.conftest import ended
from tests.support import guardrails
from tests.support.client import Json, client_of
from tests.support.live import LiveGateway
from tests.support.rows import Customer
from tests.support.sockets import opened

PLANTED = "zzplantedzz"
DATA = base64.b64encode(f"a file with {PLANTED} in it".encode()).decode()
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
CUSTOM = {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "x"}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}


def user(text: str) -> Json:
    return {"type": "message", "role": "user", "content": text}


# By name a body of POST /responses beside its model.
ITEMS: dict[str, Json] = {
    "input as text": {"input": f"say {PLANTED}"},
    "message": {"input": [user(PLANTED)]},
    "part of a message": {
        "input": [{"role": "user", "content": [{"type": "input_text", "text": PLANTED}]}]
    },
    "instructions": {"input": "Hi", "instructions": f"never {PLANTED}"},
    "system message": {"input": [{"role": "system", "content": PLANTED}, user("Hi")]},
    "assistant message": {
        "input": [
            user("Hi"),
            {"role": "assistant", "content": [{"type": "output_text", "text": PLANTED}]},
            user("Go on"),
        ]
    },
    "refusal": {
        "input": [
            user("Hi"),
            {"role": "assistant", "content": [{"type": "refusal", "refusal": PLANTED}]},
            user("Go on"),
        ]
    },
    "reasoning summary": {
        "input": [
            user("Hi"),
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": PLANTED}],
            },
            {"role": "assistant", "content": "Yes"},
            user("Go on"),
        ]
    },
    "arguments of a call": {
        "input": [
            user("Hi"),
            {**CALL, "arguments": orjson.dumps({"q": [PLANTED]}).decode()},
            {"type": "function_call_output", "call_id": "c1", "output": "ok"},
        ]
    },
    "escaped in the arguments": {
        "input": [
            user("Hi"),
            {**CALL, "arguments": '{"q": "zz\\u0070lantedzz"}'},
            {"type": "function_call_output", "call_id": "c1", "output": "ok"},
        ]
    },
    "result of a call": {
        "input": [
            user("Hi"),
            CALL,
            {"type": "function_call_output", "call_id": "c1", "output": f"it is {PLANTED}"},
        ]
    },
    "parts of a result": {
        "input": [
            user("Hi"),
            CALL,
            {
                "type": "function_call_output",
                "call_id": "c1",
                "output": [{"type": "input_text", "text": PLANTED}],
            },
        ]
    },
    "input of a custom tool": {
        "input": [
            user("Hi"),
            {**CUSTOM, "input": PLANTED},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": "ok"},
        ]
    },
    "result of a custom tool": {
        "input": [
            user("Hi"),
            CUSTOM,
            {"type": "custom_tool_call_output", "call_id": "c2", "output": PLANTED},
        ]
    },
    "name of a file": {
        "input": [
            {
                "role": "user",
                "content": [
                    {
                        "type": "input_file",
                        "filename": f"{PLANTED}.txt",
                        "file_data": f"data:text/plain;base64,{base64.b64encode(b'x').decode()}",
                    }
                ],
            }
        ]
    },
    "text of a file": {
        "input": [
            {
                "role": "user",
                "content": [
                    {
                        "type": "input_file",
                        "filename": "a.txt",
                        "file_data": f"data:text/plain;base64,{DATA}",
                    }
                ],
            }
        ]
    },
    "definition of a tool": {
        "input": "Hi",
        "tools": [{**FUNCTION, "description": f"finds {PLANTED}"}],
    },
    "parameters of a tool": {
        "input": "Hi",
        "tools": [
            {
                **FUNCTION,
                "parameters": {
                    "type": "object",
                    "properties": {"q": {"type": "string", "description": PLANTED}},
                },
            }
        ],
    },
    "result of an MCP call": {
        "input": [
            user("Hi"),
            {
                "type": "mcp_call",
                "id": "mcp_1",
                "server_label": "s",
                "name": "look",
                "arguments": "{}",
                "output": f"found {PLANTED}",
            },
            user("Go on"),
        ]
    },
    "schema of the answer": {
        "input": "Hi",
        "text": {
            "format": {
                "type": "json_schema",
                "name": "n",
                "schema": {"type": "object", "description": PLANTED},
            }
        },
    },
    "metadata": {"input": "Hi", "metadata": {"note": PLANTED}},
}
MESSAGES: dict[str, Any] = {
    "chat: message": [{"role": "user", "content": PLANTED}],
    "chat: part": [{"role": "user", "content": [{"type": "text", "text": PLANTED}]}],
    "chat: system": [{"role": "system", "content": PLANTED}, {"role": "user", "content": "Hi"}],
    "chat: calls and results": [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "f", "arguments": f'{{"q":"{PLANTED}"}}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": PLANTED},
    ],
}


def mask(acme: Customer) -> None:
    guardrails.guardrail(
        config={"terms": [PLANTED], "label": "GONE"},
        action="mask",
        stages=["input", "tools"],
        tenant=acme.tenant,
    )


def sent(gateway: LiveGateway) -> str:
    """Everything that the provider was sent, with the files in it opened."""
    found = "".join(orjson.dumps(call.body).decode() for call in gateway.sandbox.calls)
    return found.replace(DATA, "a file with the planted word: " + PLANTED)


def test_every_part_of_a_request_is_looked_at_over_every_protocol(
    gateway: LiveGateway, acme: Customer
):
    mask(acme)
    reached = []
    with client_of(gateway, acme) as http:
        for protocol in ("responses", "chat", "anthropic"):
            model = f"sandbox-{protocol}"
            for name, fields in ITEMS.items():
                answer = http.post("/responses", json={"model": model, "store": False, **fields})
                # What a protocol cannot say, or the gateway does not know, is refused by name.
                assert answer.status_code in {200, 400}, (protocol, name, answer.text)
                if answer.status_code == 200:
                    reached.append(name)
                    assert answer.headers["x-tollgate-guardrails"] == "terms=masked", name
            for name, messages in MESSAGES.items():
                answer = http.post("/chat/completions", json={"model": model, "messages": messages})
                assert answer.status_code == 200, (protocol, name, answer.text)
                assert answer.headers["x-tollgate-guardrails"] == "terms=masked", name
    assert set(reached) == set(ITEMS)
    assert gateway.sandbox.calls
    assert PLANTED not in sent(gateway)


def test_turns_from_storage_are_looked_at_again(gateway: LiveGateway, acme: Customer):
    """They were stored before there was a guardrail."""
    with client_of(gateway, acme) as http:
        first = http.post(
            "/responses", json={"model": "sandbox-responses", "input": f"I am {PLANTED}"}
        ).json()
        talk = http.post("/conversations", json={"items": [user(f"I am {PLANTED}")]}).json()
        item = http.get(f"/responses/{first['id']}/input_items").json()["data"][0]
        before = len(gateway.sandbox.calls)
        mask(acme)
        gateway.call(gateway.worker.forget)
        for fields in (
            {"previous_response_id": first["id"], "input": "Go on"},
            {"conversation": talk["id"], "input": "Go on"},
            {"input": [{"type": "item_reference", "id": item["id"]}, user("Go on")]},
        ):
            answer = http.post("/responses", json={"model": "sandbox-responses", **fields})
            assert answer.status_code == 200, answer.text
            assert answer.headers["x-tollgate-guardrails"] == "terms=masked"
    calls = list(gateway.sandbox.calls)[before:]
    assert len(calls) == 3
    assert all(PLANTED not in orjson.dumps(call.body).decode() for call in calls)


def test_a_summary_that_was_sealed_before_there_was_a_guardrail_is_looked_at(
    gateway: LiveGateway, acme: Customer
):
    told = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": PLANTED},
    }
    answer = orjson.dumps({"id": "c", "object": "chat.completion", "choices": [told]})
    scripted = Scripted(content_type="application/json", chunks=(answer,))
    gateway.call(lambda: gateway.sandbox.script("sandbox-1", scripted))
    with client_of(gateway, acme) as http:
        made = http.post("/responses/compact", json={"model": "sandbox-chat", "input": "Hi"}).json()
        assert PLANTED not in str(made)  # it is sealed
        gateway.call(gateway.sandbox.forget)
        mask(acme)
        gateway.call(gateway.worker.forget)
        again = {"model": "sandbox-chat", "input": [*made["output"], user("Go on")]}
        answered = http.post("/responses", json=again)
    assert answered.headers["x-tollgate-guardrails"] == "terms=masked"
    assert "GONE" in sent(gateway)
    assert PLANTED not in sent(gateway)


def test_every_way_into_a_model_is_looked_at(gateway: LiveGateway, acme: Customer):
    mask(acme)
    asked = {"model": "sandbox-responses", "input": f"say {PLANTED}"}
    with client_of(gateway, acme) as http:
        assert http.post("/responses", json={**asked, "stream": True}).status_code == 200
        assert http.post("/responses/input_tokens", json=asked).status_code == 200
        assert http.post("/responses/compact", json=asked).status_code == 200
        queued = http.post("/responses", json={**asked, "background": True}).json()
        ended(queued["id"])
        told = http.get(f"/responses/{queued['id']}").json()
        assert told["status"] == "completed"
        shown = http.get(f"/responses/{queued['id']}/input_items").text
        assert PLANTED not in shown  # what is masked for good is stored so, too
    with opened(gateway, acme.headers) as socket:
        first = socket.turn(input=f"say {PLANTED}", store=False)
        socket.turn(input="Go on", previous_response_id=first["id"], store=False)
    assert len(gateway.sandbox.calls) >= 6
    assert PLANTED not in sent(gateway)


def test_an_item_that_nobody_knows_does_not_pass_a_guardrail_that_must_look(
    gateway: LiveGateway, acme: Customer
):
    mask(acme)
    odd = {"type": "telepathy", "thought": "x"}
    with client_of(gateway, acme) as http:
        answer = http.post(
            "/responses", json={"model": "sandbox-responses", "input": [user("Hi"), odd]}
        )
    assert answer.status_code == 400
    assert not gateway.sandbox.calls
