"""Models that go wrong in one way, and how clients see it."""

from __future__ import annotations

import json
from typing import Any

from openai import OpenAI

from gateway_project.sandbox.faults import PREFIX
from tests.support import rows, wire
from tests.support.live import LiveGateway
from tests.support.rows import Customer


def faulty(gateway: LiveGateway, protocol: str, fault: str, *, hurried: bool = False) -> str:
    """Return an alias whose only target has this fault; `hurried` where only waiting shows it."""
    url = gateway.sandbox.fault_urls.get(fault, gateway.sandbox.base_url)
    rows.one_alias("faulty", protocol, url, PREFIX + fault)
    if hurried:
        gateway.limit(first_byte=0.1, idle=0.1, total=0.15, total_stream=0.3)
    return "faulty"


def sdk_of(gateway: LiveGateway, customer: Customer) -> OpenAI:
    return OpenAI(base_url=gateway.base_url, api_key=customer.secret, max_retries=0)


def answered(client: OpenAI, door: str, model: str, text: str = "Hi") -> str:
    """Return the whole answer's text, as the official SDK gives it."""
    if door == "chat":
        said: Any = [{"role": "user", "content": text}]
        completion = client.chat.completions.create(model=model, messages=said)
        return completion.choices[0].message.content or ""
    return client.responses.create(model=model, input=text).output_text


def streamed(client: OpenAI, door: str, model: str, text: str = "Hi") -> str:
    """Return the streamed answer's text, as the official SDK gives it; it raises if that is not complete."""
    if door == "chat":
        said: Any = [{"role": "user", "content": text}]
        with client.chat.completions.stream(model=model, messages=said) as chat:
            return chat.get_final_completion().choices[0].message.content or ""
    with client.responses.stream(model=model, input=text) as stream:
        return stream.get_final_response().output_text


def assert_chat_was_cut(answer: wire.Answer, code: str) -> None:
    """Check that an error is the last event of a chat stream, and that its body was cut."""
    assert answer.status == 200
    *_, last = answer.data
    assert json.loads(last)["error"]["code"] == code
    assert answer.body.count(b'"error"') == 1
    assert b"[DONE]" not in answer.body
    assert b'"finish_reason":"' not in answer.body
    assert not answer.is_whole
